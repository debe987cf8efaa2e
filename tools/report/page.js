"use strict";
// Hides the claims that do not match; without it all are shown.
(function () {
  const form = document.getElementById("filter");
  const rows = Array.from(document.querySelectorAll("tr[data-verdict]"));
  if (!form || rows.length === 0) return;
  const text = form.elements.text;
  const verdict = form.elements.verdict;
  const evidence = form.elements.evidence;
  const shown = document.getElementById("shown");
  const tables = Array.from(document.querySelectorAll(".table"));
  const papers = Array.from(document.querySelectorAll(".paper"));
  const contents = rows.map(function (row) {
    const paper = row.closest(".paper").getAttribute("data-paper");
    return (paper + " " + row.closest(".table").getAttribute("data-table") +
            " " + row.textContent).toLowerCase();
  });
  const wasOpen = new Map();

  function hide(element, hidden) {
    element.toggleAttribute("data-hidden", hidden);
  }

  function apply() {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const active = words.length > 0 || verdict.value !== "" ||
        evidence.value !== "";
    let count = 0;
    rows.forEach(function (row, i) {
      const matches =
          (verdict.value === "" ||
           row.getAttribute("data-verdict") === verdict.value) &&
          (evidence.value === "" ||
           row.getAttribute("data-evidence") === evidence.value) &&
          words.every(function (word) { return contents[i].includes(word); });
      hide(row, !matches);
      if (matches) count += 1;
    });
    tables.forEach(function (table) {
      const details = table.querySelector("details");
      hide(table, !table.querySelector("tr[data-verdict]:not([data-hidden])"));
      if (active) {
        if (!wasOpen.has(details)) wasOpen.set(details, details.open);
        details.open = true;
      } else if (wasOpen.has(details)) {
        details.open = wasOpen.get(details);
        wasOpen.delete(details);
      }
    });
    papers.forEach(function (paper) {
      hide(paper, active && !paper.querySelector(".table:not([data-hidden])"));
    });
    shown.value = count + " of " + rows.length + " claims shown";
  }

  form.addEventListener("input", apply);
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.addEventListener("reset", function () { setTimeout(apply, 0); });
  // A link to a claim opens the table that holds it.
  function reveal() {
    let id = location.hash.slice(1);
    try { id = decodeURIComponent(id); } catch (error) { /* taken as it is */ }
    const target = document.getElementById(id);
    const details = target && target.closest("details");
    if (!details) return;
    if (target.closest("[data-hidden]")) { form.reset(); apply(); }
    details.open = true;
    target.scrollIntoView();
  }
  window.addEventListener("hashchange", reveal);
  form.hidden = false;
  apply();
  reveal();
})();
