"""How a batch's page looks, light or dark as the reader's system is."""

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #888; --bad: #c33; --warn: #b70; --good: #2a7; }
@media (prefers-color-scheme: dark) { :root { --bad: #f77; --warn: #fb5; --good: #5d9; } }
* { box-sizing: border-box; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 75rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 0 0 .4rem; }
header p { margin: .2rem 0 .8rem; color: var(--soft); }
article { display: grid; grid-template-columns: 20rem 1fr; gap: 1rem; padding: 1rem 0; border-top: 1px solid var(--line); }
.clip video { width: 100%; display: block; border-radius: 4px; background: #000; }
.clip span { display: grid; place-items: center; aspect-ratio: 3/2; padding: 1rem; border-radius: 4px; background: #8882; color: var(--soft); }
.state { font-size: .8rem; font-weight: normal; padding: .1rem .5rem; border-radius: 1rem; border: 1px solid currentColor; margin-left: .4rem; }
.done .state { color: var(--good); } .failed .state, .failure, header p.failure { color: var(--bad); }
.cancelled .state, .running .state { color: var(--warn); }
.failure { margin: .2rem 0 .6rem; } .prompt { margin: 0 0 .3rem; white-space: pre-wrap; }
dl { display: flex; flex-wrap: wrap; gap: .15rem 1.2rem; margin: 0 0 .4rem; }
dl div { display: flex; gap: .4rem; } dt { color: var(--soft); white-space: nowrap; } dd { margin: 0; white-space: pre-wrap; }
.timing, .notes, .findings, .score { font-size: .9rem; margin: .3rem 0; }
summary { cursor: pointer; } .notes { color: var(--soft); }
ul { margin: .3rem 0; padding-left: 1.1rem; } .findings i { color: var(--soft); font-style: normal; }
.findings .block b { color: var(--bad); } .findings .warning b { color: var(--warn); } .findings .info b { color: var(--soft); }
table { border-collapse: collapse; } td, th { padding: .1rem .8rem .1rem 0; text-align: left; font-weight: normal; } th { color: var(--soft); }
@media (max-width: 45rem) { article { grid-template-columns: 1fr; } }
"""
