# Reproduction report

{{NUM_CLAIMS}} claims about {{NUM_PAPERS}} papers: what each paper reports, or what follows from it (marked derived), beside the number that this code measures.{{#RUN}} Newest run: {{RUN_ID:x-md}}, {{RUN_STARTED:x-md}}{{#RUN_INCOMPLETE}}, stopped before its end{{/RUN_INCOMPLETE}}.{{/RUN}}{{#NO_RUN}} Nothing has been measured yet: `./repro run` measures the default set.{{/NO_RUN}}
Plots and a filter are in `report.html` beside this file.

## Papers by verdict

| Paper |{{#TOTAL}} {{VERDICT:x-md}} |{{/TOTAL}} Claims |
| --- |{{#TOTAL}} ---: |{{/TOTAL}} ---: |{{#PAPER}}
| {{TITLE:x-md}} |{{#PAPER_TOTAL}} {{COUNT}} |{{/PAPER_TOTAL}} {{PAPER_CLAIMS}} |{{/PAPER}}
| All |{{#TOTAL}} {{COUNT}} |{{/TOTAL}} {{NUM_CLAIMS}} |

| Evidence |{{#TOTAL}} {{VERDICT:x-md}} |{{/TOTAL}} Claims |
| --- |{{#TOTAL}} ---: |{{/TOTAL}} ---: |{{#EVIDENCE_ROW}}
| {{EVIDENCE:x-md}} |{{#EVIDENCE_TOTAL}} {{COUNT}} |{{/EVIDENCE_TOTAL}} {{EVIDENCE_CLAIMS}} |{{/EVIDENCE_ROW}}

## Findings
{{#NO_FINDINGS}}
None recorded.
{{/NO_FINDINGS}}{{#FINDING}}
### {{FINDING_TITLE:x-md}}

{{FINDING_PAPER:x-md}}
{{#FINDING_REPORTED_SECTION}}
- Reported: {{FINDING_REPORTED:x-md}}{{/FINDING_REPORTED_SECTION}}{{#FINDING_RECOMPUTED_SECTION}}
- Recomputed: {{FINDING_RECOMPUTED:x-md}}{{/FINDING_RECOMPUTED_SECTION}}{{#FINDING_CORRECTED_SECTION}}
- Use instead: {{FINDING_CORRECTED:x-md}}{{/FINDING_CORRECTED_SECTION}}

{{FINDING_EXPLANATION:x-md}}
{{#FINDING_CLAIMS}}
Shown by: {{#LINK}}{{LINK_ID:x-md}}{{#LINK_separator}}, {{/LINK_separator}}{{/LINK}}
{{/FINDING_CLAIMS}}{{/FINDING}}{{#PAPER}}
## {{TITLE:x-md}}

{{CITATION:x-md}}{{#ARXIV_SECTION}} arXiv:{{ARXIV:x-md}}.{{/ARXIV_SECTION}}{{#CODE_SECTION}} Authors’ code: {{CODE:x-md}}{{#CODE_LICENSE_SECTION}} ({{CODE_LICENSE:x-md}}){{/CODE_LICENSE_SECTION}}.{{/CODE_SECTION}}

Repeat it: `./repro run {{SLUG:x-code}}`
{{#TABLE}}
### {{TABLE_NAME:x-md}}
{{#TABLE_STATEMENT_SECTION}}
Criterion of each claim: {{TABLE_STATEMENT:x-md}}
{{/TABLE_STATEMENT_SECTION}}
| Row | Column | Metric | Reported | Measured | Verdict | Evidence | Reason | Cost |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |{{#CLAIM}}
| {{ROW:x-md}} | {{COLUMN:x-md}} | {{METRIC:x-md}} | {{REPORTED:x-md}}{{#ORIGIN_SECTION}} ({{ORIGIN:x-md}}){{/ORIGIN_SECTION}} | {{#MEASURED_SECTION}}{{MEASURED:x-md}}{{/MEASURED_SECTION}}{{#INTERVAL_SECTION}} {{INTERVAL:x-md}}{{/INTERVAL_SECTION}}{{#SCALE_SECTION}}; smaller: {{SCALE:x-md}}{{/SCALE_SECTION}} | {{VERDICT:x-md}} | {{EVIDENCE:x-md}} | {{REASON:x-md}}{{#STATEMENT_SECTION}} Criterion: {{STATEMENT:x-md}}{{/STATEMENT_SECTION}}{{#NOTE_SECTION}} {{NOTE:x-md}}{{/NOTE_SECTION}}{{#FULL_SECTION}} At full scale, recorded: {{FULL:x-md}}{{/FULL_SECTION}}{{#RECORDED_SECTION}} {{RECORDED:x-md}}{{/RECORDED_SECTION}} | {{#COST_SECTION}}{{COST:x-md}} {{DEVICE:x-md}}{{/COST_SECTION}} |{{/CLAIM}}
{{#HISTORY}}
History of what was measured more than once:
{{#HISTORY_FIGURE}}
- {{HISTORY_LABEL:x-md}}: {{HISTORY_TEXT:x-md}}{{/HISTORY_FIGURE}}{{#HISTORY_UNCHANGED}}{{#HISTORY_LINE}}
- {{HISTORY_LABEL:x-md}}: {{HISTORY_TEXT:x-md}}{{/HISTORY_LINE}}{{/HISTORY_UNCHANGED}}
{{/HISTORY}}{{/TABLE}}{{/PAPER}}
{{#POLICIES}}## Language models under attention policies
{{#EVALUATION}}
{{MODEL:x-md}}: a key is hidden in a long text and asked for; the score is the share of its digits that the answer has, the mean over {{NUM_DEPTHS}} depths and {{NUM_KEYS}} keys. The budget is how many tokens a query sees. Haystack: {{HAYSTACK:x-md}}.{{#PERPLEXITY_HEADER}} Perplexity is of its first {{PERPLEXITY_TOKENS}} tokens.{{/PERPLEXITY_HEADER}} {{EVALUATED:x-md}}.

| Policy | Budget |{{#LENGTH}} {{TOKENS}} |{{/LENGTH}} Mean |{{#PERPLEXITY_HEADER}} Perplexity |{{/PERPLEXITY_HEADER}} Options |
| --- | ---: |{{#LENGTH}} ---: |{{/LENGTH}} ---: |{{#PERPLEXITY_HEADER}} ---: |{{/PERPLEXITY_HEADER}} --- |{{#SCORE}}
| {{POLICY:x-md}} | {{BUDGET:x-md}} |{{#NEEDLE}} {{VALUE}} |{{/NEEDLE}} {{MEAN}} |{{#PERPLEXITY}} {{VALUE}} |{{/PERPLEXITY}} {{OPTIONS:x-md}} |{{/SCORE}}
{{/EVALUATION}}
{{/POLICIES}}## Blocked
{{#NO_BLOCKED}}
No claim is blocked.
{{/NO_BLOCKED}}{{#BLOCKED_TABLE}}
With the asset in place the same command measures these claims.

| Paper | Missing | Size | Granted by | Claims |
| --- | --- | --- | --- | ---: |{{#BLOCKED_ROW}}
| {{BLOCKED_PAPER:x-md}} | {{BLOCKED_ASSET:x-md}} | {{BLOCKED_SIZE:x-md}} | {{BLOCKED_GRANTED_BY:x-md}} | {{BLOCKED_COUNT}} |{{/BLOCKED_ROW}}
{{/BLOCKED_TABLE}}
## Not run
{{#NO_SKIPPED}}
Every claim that is not blocked has been measured.
{{/NO_SKIPPED}}{{#SKIPPED_TABLE}}
| Paper | Reason | Claims |
| --- | --- | ---: |{{#SKIPPED_ROW}}
| {{SKIPPED_PAPER:x-md}} | {{#SKIPPED_FAILED}}failed: {{/SKIPPED_FAILED}}{{SKIPPED_REASON:x-md}} | {{SKIPPED_COUNT}} |{{/SKIPPED_ROW}}
{{/SKIPPED_TABLE}}
## Environment
{{#NO_RUN}}
No run.
{{/NO_RUN}}{{#RUN}}
Of the newest run; what is marked as recorded was measured where its row says.
{{#FACT}}
- {{FACT_NAME:x-md}}: {{FACT_VALUE:x-md}}{{/FACT}}
{{/RUN}}
