from worker.connections import noise_to


class Kept:
    def __init__(self):
        self.events, self.counted = [], 0.0

    def event(self, name, **fields):
        self.events.append((name, fields))

    def count(self, metric, amount=1.0, **labels):
        assert (metric, labels) == ("chatflow_ingest_dialog_noise_total", {"profile": "calls"})
        self.counted += amount


def test_all_noise_is_counted_and_each_dialog_s_logged_with_its_number():
    kept = Kept()
    note = noise_to(kept, "calls")
    note("no JSON", 1)
    note("no JSON", 3)
    assert kept.counted == 4
    told = [{"profile": "calls", "messages": number, "reason": "no JSON"} for number in (1, 3)]
    assert kept.events == [("dialog_noise", fields) for fields in told]
