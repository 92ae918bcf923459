//! Plots as SVG: numbers to shapes, names escaped.

use std::fmt::{self, Write as _};

use super::Text;
use crate::bounce::insight::Group;
use crate::output::grouped;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
/// Room for the dates.
const BOTTOM: f64 = 24.0;

/// Hard and soft rates of each day as lines, with the limits dashed.
pub(super) fn lines(days: &[Group], limits: [f64; 2], out: &mut String) -> fmt::Result {
    const HEIGHT: f64 = 230.0;
    let shares = days.iter().flat_map(|day| [day.hard.share, day.soft.share]).flatten();
    let most = shares.fold(limits[1] * 1.25, f64::max);
    let (top, step) = scale(most * 100.0);
    let y = |percent: f64| HEIGHT - BOTTOM - percent / top * (HEIGHT - BOTTOM - TOP);
    open("Hard and soft bounce rates by day", HEIGHT, out)?;
    grid((top, step), " %", y, out)?;
    for limit in limits {
        let at = y(limit * 100.0);
        write!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"var(--soft)\" stroke-dasharray=\"5 4\"/>",
            WIDTH - RIGHT
        )?;
    }
    let x = |index: usize| middle(index, days.len());
    for (colour, share) in [
        ("var(--mild)", (|day| day.soft.share) as fn(&Group) -> Option<f64>),
        ("var(--hard)", |day| day.hard.share),
    ] {
        // A day without mail interrupts no line: nothing is known of it.
        let known = days
            .iter()
            .enumerate()
            .filter_map(|(index, day)| Some((index, share(day)?)));
        let points: Vec<(usize, f64)> = known.collect();
        write!(
            out,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-linejoin=\"round\" points=\""
        )?;
        for (index, share) in &points {
            write!(out, "{:.1},{:.1} ", x(*index), y(share * 100.0))?;
        }
        out.push_str("\"/>");
        for (index, share) in &points {
            let day = days.get(*index).map_or("", |day| &day.name);
            write!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.6\" fill=\"{colour}\"><title>{}: {:.2} %</title></circle>",
                x(*index),
                y(share * 100.0),
                Text(day),
                share * 100.0
            )?;
        }
    }
    dates(days, HEIGHT, out)?;
    out.push_str("</svg>");
    Ok(())
}

/// Hard and soft bounces of each day, one on the other.
#[expect(clippy::cast_precision_loss, reason = "counts of messages are far below 2^52")]
pub(super) fn columns(days: &[Group], out: &mut String) -> fmt::Result {
    const HEIGHT: f64 = 170.0;
    let most = days.iter().map(|day| day.counts.bounced()).max().unwrap_or(0);
    let (top, step) = scale((most as f64).max(4.0));
    let y = |count: f64| HEIGHT - BOTTOM - count / top * (HEIGHT - BOTTOM - TOP);
    open("Bounces by day", HEIGHT, out)?;
    grid((top, step), "", y, out)?;
    let room = (WIDTH - LEFT - RIGHT) / days.len().max(1) as f64;
    let width = (room * 0.7).min(42.0);
    for (index, day) in days.iter().enumerate() {
        let left = middle(index, days.len()) - width / 2.0;
        let (hard, soft) = (day.counts.hard as f64, day.counts.soft as f64);
        write!(
            out,
            "<g><title>{}: {} hard, {} soft</title>",
            Text(&day.name),
            grouped(day.counts.hard),
            grouped(day.counts.soft)
        )?;
        for (colour, from, to) in [("var(--hard)", 0.0, hard), ("var(--mild)", hard, hard + soft)] {
            if to > from {
                let (high, low) = (y(to), y(from));
                write!(
                    out,
                    "<rect x=\"{left:.1}\" y=\"{high:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                    (low - high).max(0.5)
                )?;
            }
        }
        out.push_str("</g>");
    }
    dates(days, HEIGHT, out)?;
    out.push_str("</svg>");
    Ok(())
}

/// Bounces of each group as a bar, hard before soft.
#[expect(clippy::cast_precision_loss, reason = "counts of messages are far below 2^52")]
pub(super) fn bars(groups: &[&Group], out: &mut String) -> fmt::Result {
    const ROW: f64 = 26.0;
    const NAMES: f64 = 260.0;
    const NUMBERS: f64 = 110.0;
    let most = groups
        .iter()
        .map(|group| group.counts.bounced())
        .max()
        .unwrap_or(1)
        .max(1) as f64;
    let height = ROW * groups.len() as f64 + 4.0;
    open("Bounces", height, out)?;
    for (index, group) in groups.iter().enumerate() {
        let top = ROW * index as f64 + 4.0;
        let name: String = group.name.chars().take(38).collect();
        let long = |count: u64| count as f64 / most * (WIDTH - NAMES - NUMBERS);
        let (hard, soft) = (long(group.counts.hard), long(group.counts.soft));
        let text = top + 13.0;
        write!(
            out,
            "<g><title>{}: {} hard, {} soft</title><text x=\"{:.0}\" y=\"{text:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{NAMES}\" y=\"{top:.1}\" width=\"{hard:.1}\" height=\"17\" fill=\"var(--hard)\"/>\
             <rect x=\"{:.1}\" y=\"{top:.1}\" width=\"{soft:.1}\" height=\"17\" fill=\"var(--mild)\"/>\
             <text x=\"{:.1}\" y=\"{text:.1}\">{}</text></g>",
            Text(&group.name),
            grouped(group.counts.hard),
            grouped(group.counts.soft),
            NAMES - 10.0,
            Text(&name),
            NAMES + hard,
            NAMES + hard + soft + 8.0,
            grouped(group.counts.bounced())
        )?;
    }
    out.push_str("</svg>");
    Ok(())
}

fn open(label: &str, height: f64, out: &mut String) -> fmt::Result {
    write!(
        out,
        "<svg role=\"img\" aria-label=\"{label}\" viewBox=\"0 0 {WIDTH} {height}\">"
    )
}

/// The top of an axis and the distance of its marks: round numbers, four or five of them.
fn scale(most: f64) -> (f64, f64) {
    let rough = most / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|round| round * power)
        .find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    ((most / step).ceil() * step, step)
}

fn grid((top, step): (f64, f64), unit: &str, y: impl Fn(f64) -> f64, out: &mut String) -> fmt::Result {
    let mut mark = 0.0;
    while mark <= top + step / 2.0 {
        let at = y(mark);
        let shown = if step < 1.0 {
            format!("{mark:.1}")
        } else {
            format!("{mark:.0}")
        };
        write!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"var(--line)\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{shown}{unit}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0
        )?;
        mark += step;
    }
    Ok(())
}

/// As many dates as have room.
fn dates(days: &[Group], height: f64, out: &mut String) -> fmt::Result {
    let every = days.len().div_ceil(10).max(1);
    for (index, day) in days.iter().enumerate().step_by(every) {
        write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            middle(index, days.len()),
            height - 6.0,
            Text(day.name.get(5..).unwrap_or(&day.name))
        )?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a report has few days")]
fn middle(index: usize, all: usize) -> f64 {
    let room = (WIDTH - LEFT - RIGHT) / all.max(1) as f64;
    LEFT + room * (index as f64 + 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_round_marks_above_everything() {
        for (most, expected) in [
            (4.0, (4.0, 1.0)),
            (7.0, (8.0, 2.0)),
            (2.5, (3.0, 1.0)),
            (95.0, (100.0, 25.0)),
            (1201.0, (1500.0, 500.0)),
        ] {
            let (top, step) = scale(most);
            assert!(top >= most && step > 0.0 && top / step <= 6.0, "{most}: {top} {step}");
            assert!(
                (top - expected.0).abs() < 1e-9 && (step - expected.1).abs() < 1e-9,
                "{most}: {top} {step}"
            );
        }
    }
}
