// Renders what pymdownx.arithmatex has put aside: \(...\) in a line, \[...\] on lines of its own.
for (const formula of document.querySelectorAll(".arithmatex")) {
  const tex = formula.textContent.trim();
  katex.render(tex.slice(2, -2), formula, { displayMode: tex.startsWith("\\[") });
}
