//! Colours, numbers and columns for people. anstream removes the colours where they are not wanted.

pub(super) use crate::output::grouped;
use anstyle::{AnsiColor, Style};

use crate::output::Terminal;

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const GOOD: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
pub(super) const BAD: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
pub(super) const FAIR: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));

/// `text` in `style`.
pub(super) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// `part` of `whole` in per mille, rounded down, so that nothing above zero ever looks like a round hundred.
pub(super) fn per_mille(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 0;
    }
    u64::try_from(u128::from(part) * 1000 / u128::from(whole)).unwrap_or(u64::MAX)
}

/// Per mille as `12.3 %`.
pub(super) fn percent(per_mille: u64) -> String {
    format!("{}.{} %", per_mille / 10, per_mille % 10)
}

/// `1 row`, `2 rows`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// A path as a shell takes it.
pub(super) fn quoted(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    if text.chars().all(|c| c.is_alphanumeric() || "-_./+@:,".contains(c)) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What standard output can show.
pub(super) fn stdout_terminal() -> Terminal {
    let size = terminal_size::terminal_size_of(std::io::stdout());
    let color = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
    Terminal {
        width: size.map_or(Terminal::default().width, |(width, _)| {
            usize::from(width.0).clamp(60, 200)
        }),
        color,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(percent(per_mille(1, 3)), "33.3 %");
        assert_eq!(percent(per_mille(999_999, 1_000_000)), "99.9 %");
        assert_eq!(percent(per_mille(0, 0)), "0.0 %");
        assert_eq!(percent(per_mille(u64::MAX, u64::MAX)), "100.0 %");
    }
}
