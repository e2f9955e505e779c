"""A report as one HTML file: no network, no script; readable in print and by a screen reader.

Whatever may come from a victim or a user goes through `_text`.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from harness.report import charts, deltas, engines, sweep, words
from harness.report.experiment import RANKING, fact_lines, kept_lines, ranking_rows
from harness.scenarios.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from harness.experiments.findings import Finding
    from harness.report.counts import Confusion, Curve
    from harness.report.reader import HistoryReport
    from harness.scenarios.campaign import Result

STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #111; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; }
caption { text-align: left; font-weight: 600; padding: .25rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #ccc;
  overflow-wrap: anywhere; }
th[scope=col] { white-space: nowrap; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.PASS { color: #14532d; } .FAIL, .INFRA { color: #8b0000; font-weight: 700; } .UNKNOWN, .SKIP { color: #555; }
figure { margin: 1rem 0; } svg { max-width: 100%; height: auto; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f6f6f6; padding: .75rem; }
pre.frames { white-space: pre; overflow-x: auto; }
tr.differ th { border-left: .3rem solid #8b0000; padding-left: .5rem; }
@media (max-width: 60rem) {
  table, tbody, tr, th, td, caption { display: block; } thead { display: none; }
  td { border: 0; padding-left: 1rem; } td:empty { display: none; } td.number { text-align: left; }
  td[data-of]::before { content: attr(data-of) ": "; color: #555; }
}
@media print { body { margin: 0; max-width: none; } section { break-inside: avoid-page; } pre { background: none; }
  pre.frames { white-space: pre-wrap; } }
"""


def _text(value: object) -> str:
    """Escape, and show control characters instead of passing them on."""
    return escape(words.lines_of(str(value)))


def _table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Numbers to the right; the first cell of a row is its heading."""
    yield f"<table><caption>{_text(caption)}</caption>"
    yield "<thead><tr>" + "".join(f'<th scope="col">{_text(one)}</th>' for one in headings) + "</tr></thead><tbody>"
    for first, *rest in rows:
        cells = "".join(_cell(heading, value) for heading, value in zip(headings[1:], rest, strict=True))
        yield f'<tr><th scope="row">{_text(first)}</th>{cells}</tr>'
    yield "</tbody></table>"


def _cell(heading: str, value: object) -> str:
    """Write a cell with its heading, which is shown on a narrow page, where the row of headings is hidden."""
    number, text = (' class="number"', f"{value:,}") if isinstance(value, int) else ("", _text(value))
    return f'<td data-of="{_text(heading)}"{number}>{text}</td>'


def render(report: HistoryReport) -> str:
    """Write the whole file."""
    title = _text(f"Crash Harness: {report.name}")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    parts = [
        *_headline(report),
        *_open(report),
        *_verdicts(report.results),
        *_runs(report),
        *_checks(report),
        *_sweeps(report),
    ]
    parts += _experiments(report)
    parts += [*_deltas(report), *_confusion(report.confusion), *_environment(report)]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n'
        f"<body><main><h1>{title}</h1>\n{body}\n</main></body></html>\n"
    )


def _headline(report: HistoryReport) -> Iterator[str]:
    counts = report.verdicts()
    told = ", ".join(f"{number} {verdict}" for verdict, number in sorted(counts.items()))
    differing = [truth for truth, _, differ in report.confusion.rows() if differ]
    held = {"case": report.results, "run": report.runs, "check": report.checks, "sweep": report.sweeps}
    many = [words.counted(len(ones), one) for one, ones in {**held, "experiment": report.experiments}.items() if ones]
    yield f"<p>{_text(': '.join(filter(None, [', '.join(many) or 'nothing', told])))}.</p>"
    if differing:
        yield f"<p><strong>The dialects differ on {words.counted(len(differing), 'kind')} of death:</strong> "
        yield f"{_text('; '.join(differing))}.</p>"


def _open(report: HistoryReport) -> Iterator[str]:
    if report.open_question:
        yield f'<section><h2>Not decided</h2><p class="FAIL">{_text(report.open_question)}.</p>'
        if report.undecided:
            yield "<ul>" + "".join(f"<li>{_text(title)}</li>" for title in report.undecided) + "</ul>"
        yield "</section>"


def _runs(report: HistoryReport) -> Iterator[str]:
    for one in report.runs:
        verdict = one.verdict or "UNKNOWN"
        how = f"{words.ending(one.run)}{'' if one.verdict else ', not decided'}."
        yield f'<section><h2>{_text(one.title)}</h2><p class="{verdict}">{_text(how)}</p>'
        if one.run.attempts:
            yield "<ol>" + "".join(f"<li>{_text(words.attempt_line(a))}</li>" for a in one.run.attempts) + "</ol>"
        yield "</section>"


def _checks(report: HistoryReport) -> Iterator[str]:
    for check in report.checks:
        yield f"<section><h2>{_text(engines.headline(check))}</h2>"
        yield from _table("Properties", engines.HEADINGS, engines.rows(check))
        trails = "\n".join(engines.trails(check))
        yield f"<pre>{_text(trails)}</pre></section>" if trails else "</section>"


def _sweeps(report: HistoryReport) -> Iterator[str]:
    for swept in report.sweeps:
        yield f"<section><h2>{_text(sweep.headline(swept))}</h2>"
        yield f'<p class="{_text(swept.verdict)}">{_text(sweep.verdict_line(swept))}</p>'
        yield f"<p>{_text(' '.join(sweep.preface(swept)))}</p>"
        yield from (f"<p>{_text(note)}</p>" for note in swept.notes)
        yield from _table("Refusals", ("verdict", "how many"), swept.tally.items())
        for finding in swept.findings:
            title, *rest = sweep.finding_lines(finding)
            text = "\n".join(rest)
            yield f'<section><h3>{_text(title)}</h3><pre class="frames">{_text(text)}</pre></section>'
        yield "</section>"


def _verdicts(results: Sequence[Result]) -> Iterator[str]:
    if not results:
        return
    headings = ("case", "fault", "observed", "status", "dialect", "seconds", "verdict")
    yield '<section><h2>Verdicts</h2><table class="cases"><caption>Cases</caption><thead><tr>'
    yield "".join(f'<th scope="col">{one}</th>' for one in headings) + "</tr></thead><tbody>"
    for result in results:
        verdict, run = result.judgement.verdict, result.run
        seen = (words.terminations(run), run.status) if run else ("", "")
        victim, lived = result.case.victim, f"{words.lived_s(run):.2f}"
        cells = (f"{victim.fault} ({victim.tier})", *seen, result.dialect, lived)
        yield f'<tr><th scope="row">{_text(result.title)}</th>'
        yield "".join(_cell(heading, one) for heading, one in zip(headings[1:-1], cells, strict=True))
        yield f'<td class="{verdict}">{verdict}</td></tr>'
    yield "</tbody></table>"
    for result in results:
        if result.judgement.verdict is not Verdict.PASS:
            title, *trail = words.trail(result)
            yield f'<section><h3 class="{result.judgement.verdict}">{_text(title)}</h3>'
            yield f"<pre>{_text(chr(10).join(trail))}</pre></section>"
    yield "</section>"


def _experiments(report: HistoryReport) -> Iterator[str]:
    if ranking := list(ranking_rows([one.conclusion for one in report.experiments])):
        yield from (
            "<section><h2>Experiments, the highest rate first</h2>",
            *_table("Rates", RANKING, ranking),
            "</section>",
        )
    for one in report.experiments:
        told = one.conclusion
        yield f"<section><h2>Experiment: {_text(one.title)}</h2><p>Stopped: {_text(told.ended or 'not ended')}.</p>"
        for finding, curve in zip(told.findings, one.curves, strict=False):
            yield from _finding(finding, curve)
        if told.difference:
            yield f"<p><strong>Side by side:</strong> {_text(told.difference.text)}.</p>"
        kept = list(kept_lines(told))
        if kept:
            yield f"<h3>The first failure of each kind</h3><pre>{_text(chr(10).join(kept))}</pre>"
        yield "</section>"


def _finding(finding: Finding, curve: Curve) -> Iterator[str]:
    yield f"<h3>{_text(finding.variant)}</h3>"
    rows = [
        (r.ended, r.injected or "none", r.cause, r.code or "none", r.branch or "none", r.count)
        for r in finding.outcomes
    ]
    yield from _table("Outcomes", ("ended", "injected", "cause", "code", "decided by", "trials"), rows)
    yield f"<pre>{_text(chr(10).join(fact_lines(finding)))}</pre>"
    score = finding.score
    spoken = f"{finding.rate:.1%} of {finding.trials} trials failed, 95 % interval {score.low:.1%} to {score.high:.1%}"
    yield _plot(charts.rate_over_trials(curve, spoken), f"Failure rate so far over the number of trials: {spoken}.")
    shown = [wait for wait in finding.waits if wait.observed or wait.expected >= charts.LEAST_EXPECTED]
    if any(wait.observed for wait in shown):
        told_waits = ", ".join(f"{w.attempts}: {w.observed} ({w.expected:.0f})" for w in shown)
        caption = f"Attempts to the first success, observed (expected of independent attempts): {told_waits}."
        yield _plot(charts.waits(shown, "Attempts to the first success"), caption)


def _plot(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{_text(caption)}</figcaption></figure>"


def _deltas(report: HistoryReport) -> Iterator[str]:
    if not report.deltas:
        return
    yield f"<section><h2>{_text(deltas.TITLE)}</h2><p>{_text(deltas.remark(report.deltas).capitalize())}.</p>"
    if any(one.differing for one in report.deltas):
        yield from _table("What comes out otherwise", deltas.HEADINGS, deltas.rows(report.deltas))
    yield "</section>"


def _confusion(confusion: Confusion) -> Iterator[str]:
    rows = list(confusion.rows())
    if not rows:
        return
    dialects = list(rows[0][1])
    yield "<section><h2>What each dialect calls it</h2><table><caption>Injected truth against classification; rows on "
    yield "which the dialects differ are marked and come first</caption><thead><tr>"
    yield "".join(f'<th scope="col">{_text(one)}</th>' for one in ("injected", *dialects)) + "</tr></thead><tbody>"
    for truth, cells, differ in rows:
        mark = ' class="differ"' if differ else ""
        yield f'<tr{mark}><th scope="row">{_text(truth)}{" (differ)" if differ else ""}</th>'
        for dialect in dialects:
            called = "<br>".join(_text(f"{code} × {n:,}") for code, n in cells[dialect].items())
            yield f'<td data-of="{_text(dialect)}">{called}</td>'
        yield "</tr>"
    yield "</tbody></table></section>"


def _environment(report: HistoryReport) -> Iterator[str]:
    yield "<section><h2>Where it was made</h2>"
    yield from _table("Environment", ("fact", "value"), sorted(report.environment.items()))
    yield "</section>"
