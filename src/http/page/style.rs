//! The stylesheet.
//!
//! Owns colours (light and dark, both with a contrast of at least 4.5 to 1 for text), sizes (targets of 44 pixels) and
//! the narrow layout, in which a table's row becomes a block. Loads no other resource: no fonts, no images.

/// Served at `/style.css`.
pub const STYLESHEET: &str = r#":root {
  color-scheme: light dark;
  --page: #ffffff; --panel: #f4f6f8; --line: #d3d8de; --edge: #6f7782;
  --text: #1b1f24; --quiet: #545c66; --link: #0a50b0;
  --main: #0a50b0; --on-main: #ffffff;
  --good: #17652f; --waiting: #775000; --bad: #a51d17;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --panel: #1e2226; --line: #3a4149; --edge: #8b949e;
    --text: #e6e9ec; --quiet: #a8b0b9; --link: #8cbaff;
    --main: #8cbaff; --on-main: #0b1a2e;
    --good: #7fd39a; --waiting: #efc15c; --bad: #ff9b93;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
header, main { max-width: 60rem; margin: 0 auto; padding: 0.5rem 1rem; }
header { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: 0 1rem; border-bottom: 1px solid var(--line); }
main { padding-bottom: 4rem; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 1rem 0; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 0 0 0.5rem; }
h3 { font-size: 1rem; margin: 0 0 0.25rem; }
p { max-width: 42rem; margin: 0 0 0.75rem; }
ul { margin: 0 0 0.75rem; padding-left: 1.25rem; }
main > section, .whole > section { margin-top: 2rem; }
a { color: var(--link); text-underline-offset: 0.15em; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
code { font: 0.9em/1.4 ui-monospace, monospace; }
time { white-space: nowrap; }
.quiet { color: var(--quiet); }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

.home, nav a, a.name, a.way, summary { display: inline-flex; align-items: center; min-height: 44px; }
.home { color: var(--text); font-weight: 700; text-decoration: none; }
a.home:hover { text-decoration: underline; }
.session { display: flex; flex-wrap: wrap; align-items: center; gap: 0.25rem 0.75rem; }
summary { display: list-item; padding: 0.6rem 0; cursor: pointer; }

button, .button { display: inline-block; min-height: 44px; padding: 0.6rem 1rem; border: 1px solid var(--edge); border-radius: 6px; background: var(--page); color: var(--text); font: inherit; line-height: 1.4; text-align: left; text-decoration: none; cursor: pointer; }
button:hover, .button:hover { border-color: var(--text); text-decoration: underline; }
.main { border-color: var(--main); background: var(--main); color: var(--on-main); font-weight: 600; }
.danger { border-color: var(--bad); color: var(--bad); }
header button { border-color: transparent; background: transparent; color: var(--link); text-decoration: underline; padding-inline: 0.5rem; }
input, textarea, select { min-height: 44px; min-width: 0; padding: 0.5rem 0.75rem; border: 1px solid var(--edge); border-radius: 6px; background: var(--page); color: var(--text); font: inherit; }
textarea { font-family: ui-monospace, monospace; }
input[type="checkbox"] { flex: none; width: 1.25rem; height: 1.25rem; min-height: 0; margin: 0.15rem 0 0; accent-color: var(--main); }
fieldset { min-width: 0; margin: 0 0 1rem; padding: 0; border: 0; }
legend { padding: 0; font-weight: 600; }
label { font-weight: 600; }
label.tick { display: flex; gap: 0.75rem; align-items: flex-start; min-height: 44px; padding: 0.5rem 0; font-weight: 400; cursor: pointer; }
small { font-size: 0.9rem; color: var(--quiet); }
label.tick small::before { content: " · "; }
.field { max-width: 32rem; margin: 0 0 1.25rem; }
.field label { display: block; margin-bottom: 0.25rem; }
.field input, .field textarea, .field select { display: block; width: 100%; }
.field.wrong { padding-left: 0.75rem; border-left: 4px solid var(--bad); }
.field.wrong input, .field.wrong textarea { border-color: var(--bad); }
.hint { margin: 0 0 0.35rem; color: var(--quiet); font-size: 0.9rem; }
.mistake { margin: 0 0 0.35rem; color: var(--bad); font-weight: 600; }
.line { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem; margin: 0 0 1rem; }
.line label { flex-basis: 100%; }
.line input, .line select { flex: 1 1 12rem; max-width: 28rem; }
.actions { display: flex; flex-wrap: wrap; gap: 0.75rem; }
.actions, main > form { margin: 1rem 0; }

.panel, .notice { margin: 1rem 0; padding: 1rem; border: 1px solid var(--line); border-left: 4px solid var(--edge); border-radius: 6px; background: var(--panel); }
.panel > :last-child { margin-bottom: 0; }
.panel h1 { margin-top: 0; }
.panel.good { border-left-color: var(--good); }
.panel.waiting { border-left-color: var(--waiting); }
.panel.bad { border-left-color: var(--bad); }
.notice { max-width: none; border-left-color: var(--link); }
.notice.waiting { border-left-color: var(--waiting); }
.status { font-weight: 600; }
.status::before { content: ""; display: inline-block; width: 0.6em; height: 0.6em; margin-right: 0.4em; border-radius: 50%; background: currentColor; }
.status.good { color: var(--good); }
.status.waiting { color: var(--waiting); }
.status.bad { color: var(--bad); }
.missing { margin-top: 1rem; padding-top: 1rem; border-top: 1px solid var(--line); }
.notice > :last-child, .missing > :last-child { margin-bottom: 0; }
.attention { margin: 0.25rem 0 0; font-size: 0.9rem; }
.repair { margin: 0.35rem 0 0; }

table { width: 100%; margin-bottom: 1rem; border-collapse: collapse; }
th, td { padding: 0.5rem 0.75rem 0.5rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: baseline; }
thead th { color: var(--quiet); font-size: 0.9rem; }
tbody th { min-width: 8rem; font-weight: 600; }
td { min-width: 6rem; }
td.address { min-width: 13rem; }
td .status { white-space: nowrap; }
dl { margin: 0; }
dl div { display: grid; grid-template-columns: 10rem 1fr; gap: 0 1rem; padding: 0.4rem 0; border-bottom: 1px solid var(--line); }
dt { color: var(--quiet); }
dd { margin: 0; }
.apps, .scopes, .asked, .others, .events { padding: 0; list-style: none; }
.apps { display: grid; grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); gap: 0.5rem; }
.apps .button { display: block; height: 100%; }
.apps small { display: block; }
.others { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 0.25rem 1.5rem; }
.others > li > span { display: block; }
.steps { padding-left: 1.5rem; }
.steps li { margin-bottom: 0.5rem; }
.copy { max-width: 100%; margin: 0 0 1rem; padding: 0.75rem; overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; background: var(--panel); white-space: pre-wrap; }
.copy code { user-select: all; -webkit-user-select: all; }
.scopes { display: flex; flex-wrap: wrap; gap: 0.25rem 1.5rem; }
.asked > li { padding: 0.5rem 0; border-bottom: 1px solid var(--line); }
.asked .tick { padding: 0; }
.asked .hint { margin: 0; }
.asked .tick + .hint { padding-left: 2rem; }
.asked span { display: block; }
.asked span + code { color: var(--quiet); }
.events { margin: 0; }
.events li { display: grid; grid-template-columns: 12rem 1fr; gap: 0 1rem; padding: 0.4rem 0; border-bottom: 1px solid var(--line); }
.events time { color: var(--quiet); }
.choices { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 1rem; margin: 1rem 0; }
.choices .panel { display: flex; flex-direction: column; justify-content: space-between; align-items: flex-start; margin: 0; }

@media (max-width: 56rem) {
  thead { display: none; }
  table, tbody, tr, tbody th, td { display: block; }
  tbody th, td { padding: 0.1rem 0; border: 0; }
  td, td.address { display: grid; grid-template-columns: 6rem 1fr; gap: 0.75rem; min-width: 0; }
  td .status { white-space: normal; }
  td::before { content: attr(data-label); color: var(--quiet); }
  tr { padding: 0.6rem 0; border-bottom: 1px solid var(--line); }
}
@media (max-width: 40rem) {
  dl div, .events li { grid-template-columns: 1fr; }
}
"#;
