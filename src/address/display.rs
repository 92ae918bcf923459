//! Domains for people: U-labels, except where they would deceive.
//!
//! Safe to print in any direction: no parsed name or local-part holds a bidi control (IDNA disallows them, `local` refuses them).

use icu_properties::props::Script;
use idna::{AsciiDenyList, uts46::Hyphens, uts46::Uts46};

use super::character::script;

/// A lower-case A-label name with U-labels where that is safe.
pub(super) fn name(ascii: &str) -> String {
    if !ascii.contains("xn--") {
        return ascii.to_owned();
    }
    let honest = |label: &[char], tld: &[char], _bidi: bool| is_honest(label, tld);
    Uts46::new()
        .to_user_interface(ascii.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, honest)
        .0
        .into_owned()
}

fn is_honest(label: &[char], tld: &[char]) -> bool {
    !mixes_scripts(label) && !(tld.iter().all(char::is_ascii) && label.iter().all(|c| looks_latin(*c)))
}

/// UTS 39 5.2, "highly restrictive": one script, or Latin with the scripts of Chinese, Japanese or Korean.
fn mixes_scripts(label: &[char]) -> bool {
    const TOGETHER: [&[Script]; 4] = [
        &[],
        &[Script::Latin, Script::Han, Script::Hiragana, Script::Katakana],
        &[Script::Latin, Script::Han, Script::Bopomofo],
        &[Script::Latin, Script::Han, Script::Hangul],
    ];
    let scripts = || {
        let shared = [Script::Common, Script::Inherited];
        label.iter().map(|c| script(*c)).filter(move |s| !shared.contains(s))
    };
    let Some(first) = scripts().next() else {
        return false;
    };
    let fits =
        |set: &&[Script]| scripts().all(|s| s == first || set.contains(&s)) && (set.is_empty() || set.contains(&first));
    !TOGETHER.iter().any(fits)
}

/// Cyrillic and Greek letters that a reader takes for Latin ones (the set that Chromium uses), and what stands between letters.
fn looks_latin(c: char) -> bool {
    "асԁеһіјӏорԛѕԝхуъЬҽпгѵѡοανυρικ".contains(c) || c == '-' || c.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_u_labels_unless_they_deceive() {
        for (ascii, shown) in [
            ("iana.org", "iana.org"),
            ("xn--bcher-kva.de", "bücher.de"),
            ("xn--e1afmkfd.xn--p1ai", "пример.рф"),
            ("xn--zs9h.com", "🦀.com"),
            // Latin with one Cyrillic letter; all Cyrillic but read as Latin; Japanese with all its scripts.
            ("xn--paypl-7ve.com", "xn--paypl-7ve.com"),
            ("xn--80ak6aa92e.com", "xn--80ak6aa92e.com"),
            ("xn--nckwcxd7a0b8224co4vc.com", "キャンドル工芸.com"),
            ("xn--80ak6aa92e.xn--bcher-kva.de", "xn--80ak6aa92e.bücher.de"),
        ] {
            assert_eq!(name(ascii), shown);
        }
    }
}
