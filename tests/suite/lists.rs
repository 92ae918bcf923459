//! lists: the typo corpus with every difference declared, the user's own lists, the catalogue.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use presend::{
    address::{Address, Domain, Rules},
    lists::{self, UserLists},
    verdict::ListDecision,
};
use proptest::prelude::*;

fn corpus(name: &str) -> String {
    fs::read_to_string(format!("{}/tests/corpora/lists/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The text after the last `@`, as the job hands it over for an address that the parser refuses.
fn domain_of(input: &str) -> String {
    input.rsplit('@').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[test]
fn typo_corpus_agrees_or_is_declared() {
    let policy_text = corpus("typos-policy.tsv");
    let policy: BTreeMap<(&str, &str), &str> = policy_text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let (class, rest) = line.split_once('\t').expect("class, source, input");
            let (source, input) = rest.split_once('\t').expect("class, source, input");
            ((source, input), class)
        })
        .collect();
    let classes: BTreeSet<&str> = policy_text
        .lines()
        .filter_map(|line| line.strip_prefix("# class "))
        .filter_map(|line| line.split_once(": ").map(|(class, _)| class))
        .collect();
    let targets: BTreeSet<&str> = include_str!("../../lists/typos.tsv")
        .lines()
        .filter(|line| line.starts_with("near\t") || line.starts_with("typo\t"))
        .filter_map(|line| line.split('\t').nth(if line.starts_with("near") { 1 } else { 2 }))
        .collect();

    let corpus = corpus("typos.tsv");
    let (mut undeclared, mut used) = (Vec::new(), BTreeSet::new());
    let (mut known, mut found, mut other, mut other_found, mut negatives, mut fired) = (0, 0, 0, 0, 0, 0);
    for line in corpus.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let (input, expected, source) = (cells[0], cells[1], cells[2]);
        let wanted = domain_of(expected);
        let typed = domain_of(input);
        let got = lists::suggest_domain(&typed);
        // A row that wants what was typed wants no suggestion.
        let want = (!wanted.is_empty() && wanted != typed).then_some(wanted.as_str());
        let agrees = got.as_deref() == want;
        match want {
            None => {
                negatives += 1;
                fired += usize::from(!agrees && policy.get(&(source, input)) != Some(&"unfinished"));
            }
            Some(domain) if targets.contains(domain) => {
                known += 1;
                found += usize::from(agrees);
            }
            Some(_) => {
                other += 1;
                other_found += usize::from(agrees);
            }
        }
        match (agrees, policy.get(&(source, input))) {
            (false, None) => undeclared.push(format!("{source}\t{input}: want {want:?}, got {got:?}")),
            (true, Some(class)) => undeclared.push(format!("{source}\t{input}: agrees, but declared {class}")),
            (false, Some(class)) => {
                assert!(classes.contains(class), "{class} is not explained");
                used.insert((source, input));
            }
            (true, None) => {}
        }
    }
    println!(
        "targets {found}/{known}, other domains {other_found}/{other}, negatives {}/{negatives}",
        negatives - fired
    );
    assert!(undeclared.is_empty(), "{}", undeclared.join("\n"));
    assert_eq!(used.len(), policy.len(), "declared rows that are not in the corpus");
    assert!(found * 100 >= known * 90, "{found} of {known}");
    assert_eq!(fired, 0, "a suggestion where the corpus wants none");
    assert!(known > 150 && negatives > 80);
}

fn address(text: &str) -> Address {
    Address::parse(
        text,
        Rules {
            allow_special_use: true,
        },
    )
    .unwrap()
}

fn file(dir: &tempfile::TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn user_lists_let_the_most_specific_entry_win() {
    let dir = tempfile::tempdir().unwrap();
    let allow = file(
        &dir,
        "allow.txt",
        b"\xEF\xBB\xBF# ours\r\n\r\nJane@Example.com\r\nok.shop.example.com # partner\nboth.org\nmx:mail.example.net\n",
    );
    let block = file(
        &dir,
        "block.txt",
        b"example.com\nshop.example.com\nboth.org\n  spaces.org  \nmx: example.net\nmx:bad.mail.example.net\na#b@hash.org",
    );
    let lists = UserLists::load(&[allow], &[block]).unwrap();
    let (allow, block) = (Some(ListDecision::Allow), Some(ListDecision::Block));
    for (text, want) in [
        ("jane@example.com", allow),
        ("JANE@EXAMPLE.COM", allow),
        ("john@example.com", block),
        ("jane@sub.example.com", block),
        ("x@shop.example.com", block),
        ("x@ok.shop.example.com", allow),
        ("x@very.ok.shop.example.com", allow),
        ("x@notexample.com", None),
        ("x@both.org", block),
        ("x@spaces.org", block),
        ("a#b@hash.org", block),
        ("a@hash.org", None),
    ] {
        assert_eq!(lists.decide(&address(text)), want, "{text}");
    }
    for (host, want) in [
        ("mail.example.net", allow),
        ("MX1.Mail.Example.NET.", allow),
        ("bad.mail.example.net", block),
        ("other.example.net", block),
        ("xexample.net", None),
        ("net", None),
    ] {
        assert_eq!(lists.decide_mx(host), want, "{host}");
    }
    assert!(!lists.is_empty());
    assert!(UserLists::load(&[], &[]).unwrap().is_empty());
}

#[test]
fn user_list_errors_name_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    for (content, line) in [
        (&b"ok.org\n\nno_such_domain\n"[..], 3),
        (b"ok.org\njane@\n", 2),
        (b"mx:", 1),
        (b"mx:-bad-.org", 1),
        (b"two words.org", 1),
        (b"ok.org\n\xFF\xFE.org", 2),
    ] {
        let path = file(&dir, "list.txt", content);
        let error = UserLists::load(&[], std::slice::from_ref(&path))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(&format!("{}:{line}: ", path.display())), "{error}");
    }
    let missing = dir.path().join("missing.txt");
    let error = UserLists::load(&[missing], &[]).unwrap_err().to_string();
    assert!(
        error.contains("missing.txt") && error.contains("cannot read"),
        "{error}"
    );
}

#[test]
fn the_catalogue_tells_where_every_list_comes_from() {
    let lists = lists::catalogue();
    let names: Vec<_> = lists.iter().map(|list| list.name).collect();
    assert_eq!(names, ["disposable", "free", "role", "typos"]);
    for list in &lists {
        assert!(list.entries > 100 && !list.about.is_empty(), "{}", list.name);
        assert!(!list.sources.is_empty(), "{}", list.name);
        assert_eq!(list.sources.len(), list.licences.len(), "{}", list.name);
        assert_eq!(list.sources.len(), list.retrieved.len(), "{}", list.name);
    }
    assert!(lists[0].entries > 8_000);
}

proptest! {
    #[test]
    fn suggestions_lead_to_listed_names_or_repair_the_top_level_domain(domain in "[a-z0-9.'-]{0,20}|[a-z-]{1,4}\\.(con|comm|ogr)|xn--[a-z0-9-]{1,6}\\.con|(gm|ya|hot|out|ic)[a-z]{1,6}\\.[a-z]{1,4}") {
        if let Some(meant) = lists::suggest_domain(&domain) {
            prop_assert_ne!(&meant, &domain);
            let rules = Rules { allow_special_use: true };
            prop_assert_eq!(Domain::parse(&meant, rules).map(|d| d.to_string()), Ok(meant.to_string()));
            // Accepting the advice ends the matter.
            prop_assert_eq!(lists::suggest_domain(&meant), None);
        }
    }

    #[test]
    fn any_text_is_answered(domain in any::<String>()) {
        let _ = lists::suggest_domain(&domain);
    }
}
