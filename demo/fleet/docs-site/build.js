// Turns every page under pages/ into HTML under public/.
const { mkdirSync, readdirSync, readFileSync, writeFileSync } = require("node:fs");

const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");

const block = (text) =>
  text.startsWith("# ") ? `<h1>${escape(text.slice(2))}</h1>` : `<p>${escape(text)}</p>`;

mkdirSync("public", { recursive: true });
for (const name of readdirSync("pages")) {
  const blocks = readFileSync(`pages/${name}`, "utf8").trim().split(/\n{2,}/);
  const html = `<!doctype html>\n<meta charset="utf-8">\n${blocks.map(block).join("\n")}\n`;
  writeFileSync(`public/${name.replace(/\.md$/, ".html")}`, html);
}
