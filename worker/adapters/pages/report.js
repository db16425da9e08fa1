// Search, filter and sort the table of files. The page is whole without it.
(function () {
  var controls = document.getElementById("controls");
  if (!controls) return;
  var box = document.getElementById("search");
  var choice = document.getElementById("state");
  var note = document.getElementById("found");
  var pages = [].slice.call(document.querySelectorAll(".page"));
  var bodies = pages.map(function (page) { return page.querySelector("tbody"); });
  var rows = [].slice.call(document.querySelectorAll(".files tbody tr"));
  var size = bodies.length ? bodies[0].rows.length : 0;
  var timer;
  controls.hidden = false;

  function look() {
    var words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    var state = choice.value, found = 0;
    rows.forEach(function (row) {
      var text = words.length ? row.textContent.toLowerCase() : "";
      var fits = (!state || row.cells[1].className === "s-" + state) &&
        words.every(function (word) { return text.indexOf(word) >= 0; });
      row.hidden = !fits;
      if (fits) found++;
    });
    var narrowed = words.length > 0 || state !== "";
    pages.forEach(function (page) {
      page.hidden = !page.querySelector("tbody tr:not([hidden])");
      page.style.contentVisibility = narrowed ? "visible" : "";
    });
    note.textContent = narrowed ? found + " of " + rows.length + " files" : "";
  }

  function key(row, column) {
    var cell = row.cells[column];
    if (!cell.classList.contains("n")) return cell.textContent.toLowerCase();
    var text = cell.getAttribute("data-s") || cell.textContent.replace(/,/g, "");
    return text === "" ? -1 : Number(text);
  }

  function sort(column, up) {
    var keyed = rows.map(function (row, place) { return [key(row, column), place, row]; });
    keyed.sort(function (a, b) {
      if (a[0] === b[0]) return a[1] - b[1];
      return (a[0] < b[0]) === up ? -1 : 1;
    });
    rows = keyed.map(function (entry) { return entry[2]; });
    bodies.forEach(function (body, number) {
      var part = document.createDocumentFragment();
      rows.slice(number * size, (number + 1) * size).forEach(function (row) { part.appendChild(row); });
      body.appendChild(part);
    });
    look();
  }

  function mark(column, up) {
    document.querySelectorAll(".files th").forEach(function (head) {
      head.removeAttribute("aria-sort");
      if (head.cellIndex === column) head.setAttribute("aria-sort", up ? "ascending" : "descending");
    });
  }

  function choose(head) {
    var up = head.getAttribute("aria-sort") !== "ascending";
    mark(head.cellIndex, up);
    sort(head.cellIndex, up);
  }

  document.querySelectorAll(".files th").forEach(function (head) {
    head.tabIndex = 0;
    head.title = "Sort";
    head.addEventListener("click", function () { choose(head); });
    head.addEventListener("keydown", function (event) {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(head); }
    });
  });
  box.addEventListener("input", function () { clearTimeout(timer); timer = setTimeout(look, 120); });
  choice.addEventListener("change", look);

  function open() {
    var at = location.hash.slice(1), file = at && document.getElementById(at);
    if (file && file.tagName === "DETAILS") file.open = true;
  }
  window.addEventListener("hashchange", open);
  open();
})();
