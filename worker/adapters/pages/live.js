// The page shows itself anew, as often as it asks for, while it is looked at.
(function () {
  var shown = document.getElementById("ingest");
  function seconds() { return Number(shown.getAttribute("data-refresh")); }

  function take(text) {
    var fresh = new DOMParser().parseFromString(text, "text/html").getElementById("ingest");
    if (!fresh) return;
    shown.innerHTML = fresh.innerHTML;
    shown.setAttribute("data-refresh", fresh.getAttribute("data-refresh"));
  }

  function again() {
    if (!seconds()) return;
    setTimeout(function () {
      if (document.hidden) { again(); return; }
      fetch(location.href, { credentials: "same-origin" })
        .then(function (reply) { return reply.ok ? reply.text() : ""; })
        .then(take, function () {})
        .then(again);
    }, seconds() * 1000);
  }
  again();
})();
