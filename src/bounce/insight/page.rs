//! A report as one HTML page: plots are SVG inside of it, nothing is loaded from anywhere, and whatever a peer said is escaped.

mod plot;

use std::fmt::{self, Write as _};

use super::{By, Calibrated, Group, LIMITS, Rate, Report, Standing};
use crate::output::grouped;

/// Allows what the page holds and nothing else: no script, no request.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "
:root{--ink:#1c2430;--soft:#5c6775;--line:#e3e7ec;--paper:#fff;--back:#f5f7f9;--hard:#c2383b;--mild:#d98a1f;--good:#2c8a5a;--blue:#2f6db5}
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf1;--soft:#9aa6b4;--line:#323b47;--paper:#1b222b;--back:#12171e;--hard:#ef6f6c;--mild:#eab057;--good:#58c08b;--blue:#6fa8e8}}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 20px 60px}h1{font-size:26px;margin:0}h2{font-size:17px;margin:0 0 12px}
.when{color:var(--soft);margin:2px 0 22px}section{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:18px 20px;margin:16px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:16px 0}
.tile{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:14px 16px}
.tile b{display:block;font-size:24px;line-height:1.25;font-variant-numeric:tabular-nums}.tile span{color:var(--soft);font-size:13px}
.good{color:var(--good)}.watch{color:var(--mild)}.over{color:var(--hard)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px}th,td{padding:6px 10px;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{color:var(--soft);font-weight:600;white-space:nowrap}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}tr:last-child td{border-bottom:0}
td.w{overflow-wrap:anywhere;min-width:90px}td.d{white-space:nowrap}.said{color:var(--soft);font-size:13px;overflow-wrap:anywhere}svg{display:block;width:100%;height:auto}
svg text{font:11px system-ui,sans-serif;fill:var(--soft)}.key{display:flex;flex-wrap:wrap;gap:16px;color:var(--soft);font-size:13px;margin:8px 0 0}
.key i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:6px}.none{color:var(--soft);margin:0}footer{color:var(--soft);font-size:13px;margin-top:24px}
";

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut out = String::with_capacity(64 << 10);
    // Writing to memory cannot fail.
    let _ = write(report, &mut out);
    out
}

fn write(report: &Report, out: &mut String) -> fmt::Result {
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"referrer\" content=\"no-referrer\">\
         <title>Bounces {} to {}</title><style>{STYLE}</style></head><body><main>\
         <h1>Bounces</h1><p class=\"when\">{} to {} &middot; trend: {}</p>",
        Text(&report.since),
        Text(&report.until),
        Text(&report.since),
        Text(&report.until),
        report.trend.name()
    )?;
    tiles(report, out)?;
    rates(report, out)?;
    spikes(report, out)?;
    alerts(report, out)?;
    let by_class = report.by == By::Class;
    if !by_class {
        bars("By class", &report.classes, out)?;
    }
    groups(report, out)?;
    if report.by != By::Provider {
        bars("By provider", &report.providers, out)?;
    }
    near(report, out)?;
    calibration(report.calibration.as_deref(), out)?;
    let dated = "whose date has not come and which count when it does";
    writeln!(
        out,
        "<footer>{} events kept apart because nobody was mailed, {} {dated}. Rates are shares of messages whose end is known. \
         Made by presend {}.</footer></main></body></html>",
        report.kept_apart,
        report.in_the_future,
        env!("CARGO_PKG_VERSION")
    )
}

fn tiles(report: &Report, out: &mut String) -> fmt::Result {
    let counts = &report.total.counts;
    let made: u64 = report.suppressed.by_reason.values().sum();
    let hard = report.total.hard.shown();
    let soft = report.total.soft.shown();
    let tiles: [(&str, String, &str); 8] = [
        ("messages with a known end", grouped(counts.ended()), ""),
        ("hard bounce rate", hard, class(&report.total.hard)),
        ("soft bounce rate", soft, class(&report.total.soft)),
        ("hard bounces", grouped(counts.hard), ""),
        ("soft bounces", grouped(counts.soft), ""),
        (
            "complaints",
            grouped(counts.complained),
            if counts.complained > 0 { "watch" } else { "" },
        ),
        ("newly suppressed", grouped(made), ""),
        (
            "waiting for review",
            grouped(report.suppressed.review),
            if report.suppressed.review > 0 { "watch" } else { "" },
        ),
    ];
    out.push_str("<div class=\"tiles\">");
    for (name, value, class) in tiles {
        write!(
            out,
            "<div class=\"tile\"><b class=\"{class}\">{}</b><span>{name}</span></div>",
            Text(&value)
        )?;
    }
    out.push_str("</div>");
    Ok(())
}

fn class(rate: &Rate) -> &'static str {
    match rate.standing {
        Standing::Good => "good",
        Standing::Watch => "watch",
        Standing::Over => "over",
        Standing::Unknown => "",
    }
}

fn rates(report: &Report, out: &mut String) -> fmt::Result {
    out.push_str("<section><h2>Bounces by day</h2>");
    let told = report.days.iter().any(|day| day.hard.share.is_some());
    if report.days.is_empty() {
        return write!(out, "<p class=\"none\">Nothing was reported.</p></section>");
    }
    if told {
        plot::lines(&report.days, LIMITS, out)?;
        write!(
            out,
            "<p class=\"key\"><span><i style=\"background:var(--hard)\"></i>hard rate</span><span><i style=\"background:\
             var(--mild)\"></i>soft rate</span><span>dashed: 1 % and 2 %, from which providers look closer and act</span></p>"
        )?;
    }
    plot::columns(&report.days, out)?;
    write!(
        out,
        "<p class=\"key\"><span><i style=\"background:var(--hard)\"></i>hard</span><span><i style=\"background:var(--mild)\">\
         </i>soft</span><span>messages a day</span></p>"
    )?;
    if !told {
        out.push_str("<p class=\"none\">No deliveries were reported, so there are no rates.</p>");
    }
    out.push_str("</section>");
    Ok(())
}

fn spikes(report: &Report, out: &mut String) -> fmt::Result {
    out.push_str("<section><h2>Days that stand out</h2>");
    if report.spikes.is_empty() {
        out.push_str("<p class=\"none\">None, compared with the four weeks before each day.</p>");
    } else {
        head(&["day", "of", "#bounced or waiting", "#usual", "likely cause"], out)?;
        for spike in &report.spikes {
            write!(
                out,
                "<tr><td class=\"d\">{}</td><td class=\"w\">{}</td><td class=\"n over\">{}</td><td class=\"n\">{:.1}</td><td>{}</td></tr>",
                Text(&spike.day),
                Text(&spike.of),
                grouped(spike.bounced),
                spike.usual,
                Text(&spike.likely)
            )?;
        }
        out.push_str("</table></div>");
    }
    out.push_str("</section>");
    Ok(())
}

fn alerts(report: &Report, out: &mut String) -> fmt::Result {
    out.push_str("<section><h2>Alerts for the sender</h2>");
    if report.alerts.is_empty() {
        out.push_str("<p class=\"none\">None: no bounce was about you.</p>");
    } else {
        head(&["what", "who says it", "#times", "when", "what to do"], out)?;
        for alert in &report.alerts {
            let example = alert.example.as_deref().unwrap_or_default();
            write!(
                out,
                "<tr><td>{}</td><td class=\"w\">{}</td><td class=\"n\">{}</td><td class=\"d\">{} to {}</td><td>{}<div class=\"said\">{}</div>\
                 </td></tr>",
                alert.class.name(),
                Text(&alert.provider),
                grouped(alert.count),
                Text(&alert.from),
                Text(&alert.to),
                Text(alert.advice),
                Text(example)
            )?;
        }
        out.push_str("</table></div>");
    }
    out.push_str("</section>");
    Ok(())
}

fn bars(title: &str, groups: &[Group], out: &mut String) -> fmt::Result {
    let shown: Vec<&Group> = groups
        .iter()
        .filter(|group| group.counts.bounced() > 0)
        .take(12)
        .collect();
    if shown.is_empty() {
        return Ok(());
    }
    write!(out, "<section><h2>{title}</h2>")?;
    plot::bars(&shown, out)?;
    out.push_str("</section>");
    Ok(())
}

fn groups(report: &Report, out: &mut String) -> fmt::Result {
    let name = match report.by {
        By::Domain => "domain",
        By::Provider => "provider",
        By::Class => "class",
        By::List => "list",
        By::Week => "week from",
    };
    write!(out, "<section><h2>By {name}</h2>")?;
    head(
        &[
            name,
            "#delivered",
            "#hard",
            "#soft",
            "#pending",
            "#complaints",
            "#hard rate",
            "#soft rate",
        ],
        out,
    )?;
    for group in report.groups.iter().take(100) {
        let counts = &group.counts;
        write!(out, "<tr><td class=\"w\">{}</td>", Text(&group.name))?;
        for count in [
            counts.delivered,
            counts.hard,
            counts.soft,
            counts.pending,
            counts.complained,
        ] {
            write!(out, "<td class=\"n\">{}</td>", grouped(count))?;
        }
        for rate in [&group.hard, &group.soft] {
            write!(out, "<td class=\"n {}\">{}</td>", class(rate), rate.shown())?;
        }
        out.push_str("</tr>");
    }
    out.push_str("</table></div></section>");
    Ok(())
}

fn near(report: &Report, out: &mut String) -> fmt::Result {
    write!(
        out,
        "<section><h2>About to be suppressed: {}</h2>",
        grouped(report.near)
    )?;
    if report.nearest.is_empty() {
        out.push_str("<p class=\"none\">Nobody.</p>");
    } else {
        head(&["address", "#failures", "#needed", "since", "not before"], out)?;
        for near in &report.nearest {
            write!(
                out,
                "<tr><td class=\"w\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td><td>{}</td></tr>",
                Text(&near.address),
                near.failures,
                near.needed,
                Text(&near.since),
                Text(&near.until)
            )?;
        }
        out.push_str("</table></div>");
    }
    out.push_str("</section>");
    Ok(())
}

fn calibration(calibrated: Option<&[Calibrated]>, out: &mut String) -> fmt::Result {
    let Some(calibrated) = calibrated else { return Ok(()) };
    out.push_str("<section><h2>How often what presend said bounced later</h2>");
    if calibrated.is_empty() {
        out.push_str("<p class=\"none\">Nobody was mailed of whom presend had said anything before.</p></section>");
        return Ok(());
    }
    head(
        &["label", "reason", "provider", "#mailed", "#bounced hard", "#share"],
        out,
    )?;
    for row in calibrated {
        write!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"w\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n {}\">{}\
             </td></tr>",
            row.label,
            Text(&row.reason),
            Text(&row.provider),
            grouped(row.mailed),
            grouped(row.bounced),
            if row.label == "valid" { class(&row.rate) } else { "" },
            row.rate.shown()
        )?;
    }
    out.push_str("</table></div></section>");
    Ok(())
}

/// A table's head; `#` before a name is a column of numbers.
fn head(columns: &[&str], out: &mut String) -> fmt::Result {
    out.push_str("<div class=\"scroll\"><table><tr>");
    for column in columns {
        match column.strip_prefix('#') {
            Some(number) => write!(out, "<th class=\"n\">{number}</th>")?,
            None => write!(out, "<th>{column}</th>")?,
        }
    }
    out.push_str("</tr>");
    Ok(())
}

/// Text from anywhere, in an element or a quoted attribute.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                // Marks that turn the direction of what follows them, and what no page may hold.
                '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}' => {
                    formatter.write_str("\u{FFFD}")?;
                }
                control if control.is_control() => formatter.write_char(' ')?,
                other => formatter.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bounce::insight::{Alert, Counts, Near, Spike, Suppressed, Trend, spike::Cause},
        replies::Class,
    };

    const EVIL: &str = "<script>alert('x')</script>\" onload=\"x&\u{202E}\u{1b}[31m";

    fn group(name: &str, delivered: u64, hard: u64, soft: u64) -> Group {
        let counts = Counts {
            delivered,
            hard,
            soft,
            ..Counts::default()
        };
        Group::new(name.to_owned(), counts, counts.ended())
    }

    fn report() -> Report {
        Report {
            since: "2026-10-01".into(),
            until: "2026-11-01".into(),
            total: group(EVIL, 1000, 5, 7),
            trend: Trend::Steady,
            by: By::List,
            groups: vec![group(EVIL, 10, 2, 3)],
            days: vec![
                group("2026-10-01", 500, 2, 3),
                group("2026-10-02", 500, 0, 0),
                group("2026-10-03", 0, 0, 0),
            ],
            classes: vec![group(EVIL, 0, 2, 3)],
            providers: vec![group(EVIL, 10, 2, 3)],
            spikes: vec![Spike {
                day: EVIL.into(),
                of: EVIL.into(),
                bounced: 10,
                usual: 1.0,
                score: 9.0,
                cause: Cause::BadImport { list: EVIL.into() },
                likely: Cause::BadImport { list: EVIL.into() }.sentence(),
            }],
            alerts: vec![Alert {
                class: Class::Policy,
                provider: EVIL.into(),
                count: 3,
                from: EVIL.into(),
                to: EVIL.into(),
                example: Some(EVIL.into()),
                advice: "Hold.",
            }],
            suppressed: Suppressed::default(),
            near: 1,
            nearest: vec![Near {
                address: EVIL.into(),
                failures: 3,
                needed: 4,
                since: EVIL.into(),
                until: EVIL.into(),
            }],
            kept_apart: 0,
            in_the_future: 0,
            calibration: Some(vec![Calibrated {
                provider: EVIL.into(),
                label: "valid",
                reason: EVIL.into(),
                mailed: 10,
                bounced: 1,
                rate: Rate::of(1, 10),
            }]),
        }
    }

    #[test]
    fn nothing_that_a_peer_says_becomes_markup() {
        let page = page(&report());
        assert!(page.matches("&lt;script&gt;").count() > 8);
        for never in [
            "<script",
            "onload=\"",
            "\u{202E}",
            "\u{1b}",
            "http://",
            "https://",
            "src=",
            "@import",
            "url(",
        ] {
            assert!(!page.contains(never), "{never:?}");
        }
        assert!(page.contains("http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'"));
    }

    #[test]
    fn what_is_opened_is_closed() {
        let mut empty = report();
        (empty.days, empty.groups, empty.spikes, empty.alerts) = (vec![], vec![], vec![], vec![]);
        (empty.nearest, empty.calibration) = (vec![], None);
        for report in [report(), empty] {
            let page = page(&report);
            for tag in [
                "section", "table", "div", "tr", "td", "svg", "main", "html", "p", "span", "g",
            ] {
                let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
                assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
            }
            assert!(
                !page.contains("NaN") && !page.contains("inf"),
                "a number that no plot can draw"
            );
        }
    }
}
