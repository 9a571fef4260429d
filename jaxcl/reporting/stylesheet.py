"""The look of the report page: light and dark by the reader's choice, and fit for paper."""

STYLESHEET = """
:root {
  color-scheme: light dark;
  --ink: #1d1f21;
  --soft: #5c6166;
  --line: #d9dcdf;
  --paper: #ffffff;
  --shade: #f5f6f7;
  --link: #0b5394;
  --good: #0a6b4b;
  --bad: #a33a00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6e6e3;
    --soft: #a3a8ad;
    --line: #3a3e42;
    --paper: #17191b;
    --shade: #202326;
    --link: #8ab8e6;
    --good: #5cc79c;
    --bad: #f0935a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0;
  background: var(--paper);
  color: var(--ink);
  font: 16px/1.55 "Source Sans 3", "Helvetica Neue", Arial, "Liberation Sans", sans-serif;
}
main { max-width: 1080px; margin: 0 auto; padding: 2.5rem 1.5rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; }
h2 {
  font-size: 1.35rem;
  margin: 3rem 0 .8rem;
  padding-bottom: .3rem;
  border-bottom: 1px solid var(--line);
}
h3 { font-size: 1.08rem; margin: 2rem 0 .5rem; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
p { margin: .5rem 0; max-width: 75ch; }
p.lead { font-size: 1.08rem; }
nav { background: var(--shade); border-radius: 6px; padding: .8rem 1.2rem; margin: 1.5rem 0; }
nav ol {
  list-style: none;
  margin: 0;
  padding: 0;
  columns: 2;
  column-gap: 2.5rem;
  font-size: .93rem;
}
nav li { break-inside: avoid; padding: .1rem 0; }
nav li.level3 { padding-left: 1.2rem; }
dl {
  display: grid;
  grid-template-columns: max-content 1fr;
  gap: .25rem 1.2rem;
  font-size: .95rem;
  margin: 1rem 0;
}
dt { color: var(--soft); }
dd { margin: 0; }
.table { margin: 1.4rem 0; }
.title { font-weight: 600; font-size: .95rem; max-width: none; }
.note { color: var(--soft); font-size: .85rem; max-width: 100ch; }
.scroll { overflow-x: auto; }
table {
  border-collapse: collapse;
  font-size: .84rem;
  font-variant-numeric: tabular-nums;
  line-height: 1.35;
  border-top: 1.5px solid var(--ink);
  border-bottom: 1.5px solid var(--ink);
}
th, td { padding: .28rem .6rem; text-align: right; white-space: nowrap; vertical-align: top; }
thead th {
  font-weight: 600;
  border-bottom: 1px solid var(--ink);
  vertical-align: bottom;
  white-space: normal;
  min-width: 3.2rem;
  max-width: 8.5rem;
}
.text { text-align: left; }
tr.group td { border-top: 1px solid var(--line); }
td.none { color: var(--soft); opacity: .75; }
td.best { font-weight: 700; }
td.good { color: var(--good); font-weight: 600; }
td.bad { color: var(--bad); font-weight: 600; }
td.open { color: var(--soft); }
.spread { color: var(--soft); }
td.best .spread { font-weight: 400; }
.compact th, .compact td { padding: .28rem .36rem; }
.compact .spread { display: block; font-size: .92em; }
.compact td.none { font-size: .72rem; vertical-align: baseline; }
.compact td { vertical-align: baseline; }
td.text { white-space: normal; max-width: 15rem; }
td.text:first-child { white-space: nowrap; max-width: none; }
.claims td.text { max-width: none; }
.claims td:nth-child(5), .claims td.none { white-space: nowrap; }
.figures {
  display: grid;
  grid-template-columns: 1fr 1fr;
  gap: 1.2rem 1.6rem;
  align-items: start;
  margin: 1rem 0;
}
figure { margin: 0; break-inside: avoid; }
figure.wide { grid-column: 1 / -1; }
figure img {
  display: block;
  width: 100%;
  height: auto;
  background: #fff;
  border-radius: 4px;
  padding: 8px;
}
figcaption { font-size: .85rem; line-height: 1.45; color: var(--soft); margin-top: .45rem; }
figcaption b { color: var(--ink); }
details { margin: .6rem 0; }
summary { cursor: pointer; font-weight: 600; }
@media screen and (max-width: 720px) {
  nav ol { columns: 1; }
  .figures { grid-template-columns: 1fr; }
}
@media print {
  :root { font-size: 9.5pt; }
  main { max-width: none; padding: 0; }
  nav { background: none; }
  .scroll { overflow: visible; }
  table { font-size: 7pt; }
  th, td { padding: 2pt 3pt; }
  h2 { break-after: avoid; }
  details::details-content { content-visibility: visible; display: block; }
}
"""
