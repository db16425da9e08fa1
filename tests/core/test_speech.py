import pytest

from worker.core.speech import Speech, understand


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Please upload.", Speech("Please upload.")),
        ("", Speech("")),
        ("flow_enter", Speech("")),
        ("flow_exit", Speech("")),
        ("current_communication_complete", Speech("")),
        ("enter by prev_node_id:1f-2", Speech("")),
        ("node_waiting_input", Speech("", waits=True)),
        ("flow_jump", Speech("", jumps=True)),
        ("flow_enterflow_jump::Invoices", Speech("", jumps=True)),
        ("Bye. flow_jump::a b,jump_flow_uuid:4cc9-11f0,c", Speech("Bye. ", True, "4cc9-11f0")),
        ("jump_flow_uuid: 4cc9-11f0", Speech("", True, "4cc9-11f0")),
        ('{"jump_flow_uuid:4cc9-11f0"}', Speech('{"', True, "4cc9-11f0")),
        ("flow_jump::jump_flow_uuid:,x", Speech("", jumps=True)),
    ],
)
def test_the_services_own_words_are_no_speech(text, expected):
    assert understand(text) == expected
