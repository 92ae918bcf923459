//! What comments of a text list say to presend: `# presend: ...`, beside an address or on lines above it.
//!
//! Must not know what is said: that is the reader's of the row.

/// What a directive starts with, behind its `#` and white space.
const NAME: &str = "presend:";
/// Bytes of directives that are gathered for one row; nobody writes more.
const MOST: usize = 4096;

/// Adds what a comment line says to what the lines above the same row said.
pub(super) fn gather(line: &[u8], said: &mut String) {
    let text = str::from_utf8(line).unwrap_or_default().trim_start_matches('#').trim();
    let Some(directive) = text.strip_prefix(NAME) else {
        return;
    };
    if said.len() + directive.len() <= MOST {
        said.push_str(directive.trim());
        said.push(' ');
    }
}

/// The address, and what a comment behind it says. A `#` may be part of an address: white space goes before the comment's.
pub(super) fn split(line: &str) -> (&str, &str) {
    for (at, _) in line.match_indices('#') {
        let (before, comment) = line.split_at(at);
        let text = comment.trim_start_matches('#').trim();
        if let Some(directive) = text.strip_prefix(NAME)
            && before.ends_with([' ', '\t'])
            && !before.trim().is_empty()
        {
            return (before.trim_end(), directive.trim());
        }
    }
    (line, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_is_told_from_an_address() {
        for (line, address, said) in [
            ("info@x.org # presend: ignore[role]", "info@x.org", "ignore[role]"),
            ("info@x.org\t## presend:ignore", "info@x.org", "ignore"),
            ("info@x.org # other words", "info@x.org # other words", ""),
            ("a#presend: b@x.org", "a#presend: b@x.org", ""),
            ("#presend: ignore", "#presend: ignore", ""),
            ("x#y@x.org", "x#y@x.org", ""),
        ] {
            assert_eq!(split(line), (address, said), "{line:?}");
        }
    }

    #[test]
    fn lines_above_are_gathered_and_bounded() {
        let mut said = String::new();
        gather(b"# presend: ignore[role]", &mut said);
        gather(b"# other", &mut said);
        gather(b"#presend:ignore[free]", &mut said);
        assert_eq!(said, "ignore[role] ignore[free] ");
        gather(format!("# presend: {}", "x".repeat(MOST)).as_bytes(), &mut said);
        assert!(said.len() < 100);
    }
}
