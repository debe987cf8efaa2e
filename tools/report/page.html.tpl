{{%AUTOESCAPE context="HTML"}}<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="color-scheme" content="light dark">
<title>Reproduction report: {{NUM_CLAIMS}} claims of {{NUM_PAPERS}} papers</title>
<link rel="icon" href="data:,">
<style>
{{CSS:none}}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the results</a>
{{SYMBOLS:none}}
<div class="layout">
<nav aria-label="Sections">
<ul class="sections">
<li><a href="#summary">Summary</a></li>
<li><a href="#matrix">Papers by verdict</a></li>
<li><a href="#findings">Findings</a></li>
<li><a href="#papers">Claims</a>
<ul class="papers">{{#NAV_PAPER}}
<li><a href="#paper-{{SLUG}}">{{SLUG}}</a></li>{{/NAV_PAPER}}
</ul></li>
{{#NAV_POLICIES}}<li><a href="#policies">Language models</a></li>
{{/NAV_POLICIES}}<li><a href="#missing">Blocked</a></li>
<li><a href="#skipped">Not run</a></li>
<li><a href="#environment">Environment</a></li>
</ul>
</nav>
<main id="main" tabindex="-1">
<header id="summary">
<h1>Reproduction report</h1>
<p class="muted">{{NUM_CLAIMS}} claims about {{NUM_PAPERS}} papers: what each paper reports, or what follows from it (marked derived), beside the number that this code measures.{{#RUN}} Newest run: <code>{{RUN_ID}}</code>, {{RUN_STARTED}}{{#RUN_INCOMPLETE}}, stopped before its end{{/RUN_INCOMPLETE}}.{{/RUN}}{{#NO_RUN}} Nothing has been measured yet: <code>./repro run</code> measures the default set.{{/NO_RUN}}</p>
<dl class="totals">{{#TOTAL}}
<div><dt><span class="verdict {{VERDICT}}">{{VERDICT}}</span></dt><dd class="number" data-total="{{VERDICT}}">{{COUNT}}</dd></div>{{/TOTAL}}
</dl>
<details class="plain"><summary>What the words mean</summary>
<dl class="facts body">
<dt class="verdict REPRODUCED">REPRODUCED</dt><dd>The same quantity was measured and agrees with the printed digits, or within the stated tolerance.</dd>
<dt class="verdict HOLDS">HOLDS</dt><dd>The criterion written down before the run holds, at a smaller scale or on another device.</dd>
<dt class="verdict DIFFERS">DIFFERS</dt><dd>Measured, and it does not agree.</dd>
<dt class="verdict BLOCKED">BLOCKED</dt><dd>Needs something that is not to be had freely.</dd>
<dt class="verdict NOT_RUN">NOT_RUN</dt><dd>Not measured yet, or the measurement broke.</dd>
<dt>EXACT</dt><dd>The same quantity by the same definition on the same data or configuration.</dd>
<dt>REPLAY</dt><dd>The metric recomputed from outputs that the authors released.</dd>
<dt>FULL_SCALE</dt><dd>The paper’s shapes and precision on another device: a ratio to a baseline of the same run.</dd>
<dt>SCALED</dt><dd>A smaller model, dataset or schedule: a direction and a least effect, tested over seeds. Its value is not the paper’s quantity.</dd>
<dt>derived</dt><dd>Nobody reported this value: it follows from the paper’s definitions or released data and was computed independently.</dd>
<dt>[low, high]</dt><dd>95% confidence interval over seeds.</dd>
</dl></details>
</header>

<section id="matrix" aria-labelledby="matrix-title">
<h2 id="matrix-title">Papers by verdict</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Papers by verdict, scrolls sideways">
<table class="counts" id="matrix-table">
<caption>Claims of each paper by verdict.</caption>
<thead><tr><th scope="col">Paper</th>{{#TOTAL}}<th scope="col"><span class="verdict {{VERDICT}}">{{VERDICT}}</span></th>{{/TOTAL}}<th scope="col">Claims</th><th scope="col" class="share">Share</th></tr></thead>
<tbody>{{#PAPER}}
<tr data-paper="{{SLUG}}"><th scope="row"><a href="#paper-{{SLUG}}">{{TITLE}}</a></th>{{#PAPER_TOTAL}}<td data-count="{{VERDICT}}"{{#COUNT_IS_ZERO}} class="none"{{/COUNT_IS_ZERO}}>{{COUNT}}</td>{{/PAPER_TOTAL}}<td>{{PAPER_CLAIMS}}</td><td class="share"><div class="bar" aria-hidden="true">{{#PAPER_BAR}}<span class="{{VERDICT}}" style="flex-grow:{{COUNT}}"></span>{{/PAPER_BAR}}</div></td></tr>{{/PAPER}}
</tbody>
<tfoot><tr><th scope="row">All</th>{{#TOTAL}}<td>{{COUNT}}</td>{{/TOTAL}}<td>{{NUM_CLAIMS}}</td><td class="share"></td></tr></tfoot>
</table>
</div>
<p></p>
<div class="scroll" tabindex="0" role="region" aria-label="Evidence by verdict, scrolls sideways">
<table class="counts" id="evidence-table">
<caption>Claims by how near to the paper the measurement is.</caption>
<thead><tr><th scope="col">Evidence</th>{{#TOTAL}}<th scope="col"><span class="verdict {{VERDICT}}">{{VERDICT}}</span></th>{{/TOTAL}}<th scope="col">Claims</th></tr></thead>
<tbody>{{#EVIDENCE_ROW}}
<tr><th scope="row">{{EVIDENCE}}</th>{{#EVIDENCE_TOTAL}}<td{{#COUNT_IS_ZERO}} class="none"{{/COUNT_IS_ZERO}}>{{COUNT}}</td>{{/EVIDENCE_TOTAL}}<td>{{EVIDENCE_CLAIMS}}</td></tr>{{/EVIDENCE_ROW}}
</tbody>
</table>
</div>
</section>

<section id="findings" aria-labelledby="findings-title">
<h2 id="findings-title">Findings</h2>{{#NO_FINDINGS}}
<p class="muted">None recorded.</p>{{/NO_FINDINGS}}{{#FINDING}}
<article class="finding">
<h3>{{FINDING_TITLE}}</h3>
<p class="muted">{{FINDING_PAPER}}</p>
<dl class="facts">{{#FINDING_REPORTED_SECTION}}
<dt>Reported</dt><dd>{{FINDING_REPORTED}}</dd>{{/FINDING_REPORTED_SECTION}}{{#FINDING_RECOMPUTED_SECTION}}
<dt>Recomputed</dt><dd>{{FINDING_RECOMPUTED}}</dd>{{/FINDING_RECOMPUTED_SECTION}}{{#FINDING_CORRECTED_SECTION}}
<dt>Use instead</dt><dd>{{FINDING_CORRECTED}}</dd>{{/FINDING_CORRECTED_SECTION}}
</dl>
<p>{{FINDING_EXPLANATION}}</p>{{#FINDING_CLAIMS}}
<p class="small">Shown by {{#LINK}}<a href="#{{LINK_ANCHOR}}"><code>{{LINK_ID}}</code></a>{{#LINK_separator}}, {{/LINK_separator}}{{/LINK}}</p>{{/FINDING_CLAIMS}}
</article>{{/FINDING}}
</section>

<section id="papers" aria-labelledby="papers-title">
<h2 id="papers-title">Claims</h2>{{#PLOTS_MISSING_SECTION}}
<p>This report has no plots: {{PLOTS_MISSING}}.</p>{{/PLOTS_MISSING_SECTION}}
<form class="filter" id="filter" hidden aria-label="Filter the claims">
<div><label for="filter-text">Text</label><input id="filter-text" name="text" type="search" autocomplete="off"></div>
<div><label for="filter-verdict">Verdict</label><select id="filter-verdict" name="verdict"><option value="">all</option>{{#TOTAL}}<option>{{VERDICT}}</option>{{/TOTAL}}</select></div>
<div><label for="filter-evidence">Evidence</label><select id="filter-evidence" name="evidence"><option value="">all</option>{{#EVIDENCE_ROW}}<option>{{EVIDENCE}}</option>{{/EVIDENCE_ROW}}</select></div>
<button type="reset">Show all</button>
<output id="shown" for="filter-text filter-verdict filter-evidence"></output>
</form>{{#PAPER}}
<section class="paper" id="paper-{{SLUG}}" data-paper="{{SLUG}}" aria-labelledby="title-{{SLUG}}">
<h2 id="title-{{SLUG}}">{{TITLE}}</h2>
<p>{{CITATION}}{{#ARXIV_SECTION}} <a href="https://arxiv.org/abs/{{ARXIV}}">arXiv:{{ARXIV}}</a>.{{/ARXIV_SECTION}}{{#CODE_SECTION}} <a href="{{CODE}}">Authors’ code</a>{{#CODE_LICENSE_SECTION}} ({{CODE_LICENSE}}){{/CODE_LICENSE_SECTION}}.{{/CODE_SECTION}}</p>
<p>Repeat it: <code class="command">./repro run {{SLUG}}</code></p>
<p>{{#PAPER_SHARE}}<span class="verdict {{VERDICT}}">{{VERDICT}}</span> <span class="number">{{COUNT}}</span> &ensp;{{/PAPER_SHARE}}</p>{{#ASSETS}}
<details class="plain"><summary>Assets read ({{NUM_ASSETS}})</summary>
<ul class="links">{{#ASSET}}<li>{{ASSET_NAME}}, sha256 <code>{{ASSET_SHA256}}</code></li>{{/ASSET}}</ul></details>{{/ASSETS}}{{#TABLE}}
<div class="table" data-table="{{TABLE_NAME}}">
<details{{#TABLE_OPEN}} open{{/TABLE_OPEN}}><summary><h3>{{TABLE_NAME}}</h3> <span class="muted">{{TABLE_CLAIMS}} {{TABLE_NOUN}}{{#TABLE_SHARE}}, {{COUNT}} <span class="verdict {{VERDICT}}">{{VERDICT}}</span>{{/TABLE_SHARE}}</span></summary>{{#FIGURES}}
<div class="figures">{{#FIGURE}}
<figure><figcaption><strong>{{FIGURE_AXIS}}</strong> {{FIGURE_KEY}}</figcaption>{{FIGURE_SVG:none}}</figure>{{/FIGURE}}
</div>{{/FIGURES}}
{{#TABLE_STATEMENT_SECTION}}<p class="criterion">Criterion of each claim: {{TABLE_STATEMENT}}</p>
{{/TABLE_STATEMENT_SECTION}}<div class="claims-box">
<table class="claims cards" role="table">
<caption class="visually-hidden">Claims of {{TABLE_NAME}}, {{TITLE}}: reported beside measured</caption>
<thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader">Row, column, metric</th><th scope="col" role="columnheader">Reported</th><th scope="col" role="columnheader">Measured</th><th scope="col" role="columnheader">Verdict</th><th scope="col" role="columnheader">Evidence</th><th scope="col" role="columnheader">Reason</th><th scope="col" role="columnheader">Cost</th></tr></thead>
<tbody role="rowgroup">{{#CLAIM}}
<tr role="row" id="{{ANCHOR}}" data-verdict="{{VERDICT}}" data-evidence="{{EVIDENCE}}"><th scope="row" role="rowheader"><span class="row">{{ROW}}</span> <span class="column">{{COLUMN}}</span> <span class="metric">{{METRIC}}</span> <code>{{CLAIM_ID}}</code></th>
<td role="cell" data-label="{{REPORTED_LABEL}}"><div><span class="value">{{REPORTED}}</span>{{#ORIGIN_SECTION}} <span class="tag">{{ORIGIN}}</span>{{/ORIGIN_SECTION}}</div></td>
<td role="cell" data-label="Measured"><div>{{#MEASURED_SECTION}}<span class="value">{{MEASURED}}</span>{{/MEASURED_SECTION}}{{#NOT_MEASURED}}<span class="muted">–</span>{{/NOT_MEASURED}}{{#INTERVAL_SECTION}} <span class="small number">{{INTERVAL}}</span>{{/INTERVAL_SECTION}}{{#SCALE_SECTION}} <span class="small">smaller: {{SCALE}}</span>{{/SCALE_SECTION}}</div></td>
<td role="cell" data-label="Verdict"><div><span class="verdict {{VERDICT}}">{{VERDICT}}</span></div></td>
<td role="cell" data-label="Evidence"><div>{{EVIDENCE}}</div></td>
<td role="cell" data-label="Reason"><div>{{REASON}}{{#STATEMENT_SECTION}} <span class="small">Criterion: {{STATEMENT}}</span>{{/STATEMENT_SECTION}}{{#NOTE_SECTION}} <span class="small">{{NOTE}}</span>{{/NOTE_SECTION}}{{#FULL_SECTION}} <span class="small">At full scale, recorded: {{FULL}}</span>{{/FULL_SECTION}}{{#RECORDED_SECTION}} <span class="small">{{RECORDED}}</span>{{/RECORDED_SECTION}}</div></td>
<td role="cell" data-label="Cost"><div>{{#COST_SECTION}}<span class="number">{{COST}}</span> <span class="small">{{DEVICE}}</span>{{/COST_SECTION}}{{#NOT_MEASURED}}<span class="muted">–</span>{{/NOT_MEASURED}}</div></td></tr>{{/CLAIM}}
</tbody>
</table>
</div>{{#HISTORY}}
<div class="body">
<details class="plain"><summary>History: {{HISTORY_CLAIMS}} {{HISTORY_NOUN}} measured more than once, {{HISTORY_CHANGED}} changed</summary>
<p class="small">Each measurement with its 95% interval over time; the grey line is the reported value.</p>
<div class="figures small-multiples">{{#HISTORY_FIGURE}}
<figure><figcaption><strong>{{HISTORY_LABEL}}</strong> {{HISTORY_TEXT}}</figcaption>{{HISTORY_SVG:none}}</figure>{{/HISTORY_FIGURE}}
</div>{{#HISTORY_UNCHANGED}}
<p class="small">The same in every measurement:</p>
<ul class="unchanged">{{#HISTORY_LINE}}<li>{{HISTORY_LABEL}}: {{HISTORY_TEXT}}</li>{{/HISTORY_LINE}}</ul>{{/HISTORY_UNCHANGED}}
</details></div>{{/HISTORY}}
</details>
</div>{{/TABLE}}
</section>{{/PAPER}}
</section>

{{#POLICIES}}<section id="policies" aria-labelledby="policies-title">
<h2 id="policies-title">Language models under attention policies</h2>{{#EVALUATION}}
<p><strong>{{MODEL}}</strong>: a key is hidden in a long text and asked for; the score is the share of its digits that the answer has, the mean over {{NUM_DEPTHS}} depths and {{NUM_KEYS}} keys. The budget is how many tokens a query sees. Haystack: {{HAYSTACK}}.{{#PERPLEXITY_HEADER}} Perplexity is of its first {{PERPLEXITY_TOKENS}} tokens.{{/PERPLEXITY_HEADER}} <span class="muted">{{EVALUATED}}.</span></p>
<div class="scroll" tabindex="0" role="region" aria-label="{{MODEL}} under policies, scrolls sideways">
<table class="counts" data-model="{{MODEL}}">
<caption>Needle-in-a-haystack score by the tokens of the prompt{{#PERPLEXITY_HEADER}}, and perplexity{{/PERPLEXITY_HEADER}}.</caption>
<thead><tr><th scope="col">Policy</th><th scope="col">Budget</th>{{#LENGTH}}<th scope="col">{{TOKENS}}</th>{{/LENGTH}}<th scope="col">Mean</th>{{#PERPLEXITY_HEADER}}<th scope="col">Perplexity</th>{{/PERPLEXITY_HEADER}}<th scope="col" class="options">Options</th></tr></thead>
<tbody>{{#SCORE}}
<tr><th scope="row">{{POLICY}}</th><td>{{BUDGET}}</td>{{#NEEDLE}}<td>{{VALUE}}</td>{{/NEEDLE}}<td>{{MEAN}}</td>{{#PERPLEXITY}}<td>{{VALUE}}</td>{{/PERPLEXITY}}<td class="options">{{OPTIONS}}</td></tr>{{/SCORE}}
</tbody>
</table>
</div>{{#FIGURES}}
<p class="small">Mean score over the budget; the grey line is the model without a policy.</p>
<div class="figures small-multiples">{{#FIGURE}}
<figure><figcaption><strong>{{POLICY}}</strong></figcaption>{{FIGURE_SVG:none}}</figure>{{/FIGURE}}
</div>{{/FIGURES}}{{/EVALUATION}}
</section>

{{/POLICIES}}<section id="missing" aria-labelledby="missing-title">
<h2 id="missing-title">Blocked</h2>{{#NO_BLOCKED}}
<p class="muted">No claim is blocked.</p>{{/NO_BLOCKED}}{{#BLOCKED_TABLE}}
<p>With the asset in place the same command measures these claims.</p>
<table class="cards" role="table">
<caption>What is missing, and who grants it.</caption>
<thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader">Paper</th><th scope="col" role="columnheader">Missing</th><th scope="col" role="columnheader">Size</th><th scope="col" role="columnheader">Granted by</th><th scope="col" role="columnheader">Claims</th></tr></thead>
<tbody role="rowgroup">{{#BLOCKED_ROW}}
<tr role="row"><td role="cell" data-label="Paper">{{BLOCKED_PAPER}}</td><th scope="row" role="rowheader">{{BLOCKED_ASSET}}</th><td role="cell" data-label="Size">{{BLOCKED_SIZE}}</td><td role="cell" data-label="Granted by">{{BLOCKED_GRANTED_BY}}</td><td role="cell" data-label="Claims"><details class="plain"><summary>{{BLOCKED_COUNT}}</summary><ul class="links">{{#LINK}}<li><a href="#{{LINK_ANCHOR}}"><code>{{LINK_ID}}</code></a></li>{{/LINK}}</ul></details></td></tr>{{/BLOCKED_ROW}}
</tbody>
</table>{{/BLOCKED_TABLE}}
</section>

<section id="skipped" aria-labelledby="skipped-title">
<h2 id="skipped-title">Not run</h2>{{#NO_SKIPPED}}
<p class="muted">Every claim that is not blocked has been measured.</p>{{/NO_SKIPPED}}{{#SKIPPED_TABLE}}
<table class="cards" role="table">
<caption>Claims without a measurement, and why.</caption>
<thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader">Paper</th><th scope="col" role="columnheader">Reason</th><th scope="col" role="columnheader">Claims</th></tr></thead>
<tbody role="rowgroup">{{#SKIPPED_ROW}}
<tr role="row"><td role="cell" data-label="Paper">{{SKIPPED_PAPER}}</td><th scope="row" role="rowheader">{{#SKIPPED_FAILED}}<span class="tag">failed</span> {{/SKIPPED_FAILED}}{{SKIPPED_REASON}}</th><td role="cell" data-label="Claims"><details class="plain"><summary>{{SKIPPED_COUNT}}</summary><ul class="links">{{#LINK}}<li><a href="#{{LINK_ANCHOR}}"><code>{{LINK_ID}}</code></a></li>{{/LINK}}</ul></details></td></tr>{{/SKIPPED_ROW}}
</tbody>
</table>{{/SKIPPED_TABLE}}
</section>

<section id="environment" aria-labelledby="environment-title">
<h2 id="environment-title">Environment</h2>{{#NO_RUN}}
<p class="muted">No run.</p>{{/NO_RUN}}{{#RUN}}
<p>Of the newest run; what is marked as recorded was measured where its row says.</p>
<dl class="facts">{{#FACT}}
<dt>{{FACT_NAME}}</dt><dd>{{FACT_VALUE}}</dd>{{/FACT}}
</dl>{{/RUN}}
</section>
</main>
</div>
<script>
{{SCRIPT:none}}</script>
</body>
</html>
