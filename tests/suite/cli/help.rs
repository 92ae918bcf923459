//! What `-h` and `--help` say.

use super::*;

#[test]
fn the_short_help_names_every_command() {
    let ran = run(&["-h"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!(ran.out, @r#"
    Tells, before a message is sent, what will happen to mail for an address

    Usage: presend <COMMAND>

    Commands:
      check        Check a few addresses and explain the answers
      verify       Check lists: CSV, TSV, text, NDJSON or XLSX in, the same plus labels out
      refresh      Ask again about what has aged, the oldest and most mailed first
      jobs         Lists verified or being verified: list, show, resume, export, cancel, delete
      classify     Tell what SMTP replies mean, and about whom
      doctor       May this machine probe? Port 25, names, SPF, blocklists, resolver, clock
      serve        Serve the HTTP API: single addresses, batches, replies, reasons
      keys         Keys of the HTTP API: add, list, revoke
      bounces      Learn from past mailings: import bounces and deliveries, report rates and spikes
      suppress     Who gets no more mail: add, remove, list, why, import, export, review
      lists        The bundled lists: counts, dates, sources
      lab          Serve a miniature internet from a TOML file, to test against
      demo         See every label on a sample list, without network or configuration
      reasons      Print every reason and class with what it means, what to do and other systems' names
      config       Show or check the configuration
      completions  Print completions for a shell
      man          Print the manual page
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help (see more with '--help')
      -V, --version  Print version
    "#);
}

#[test]
fn the_long_help_teaches_by_examples() {
    for command in [
        "check",
        "verify",
        "jobs",
        "classify",
        "serve",
        "keys",
        "lab",
        "completions",
    ] {
        let ran = run(&[command, "--help"]);
        assert!(ran.out.contains("Examples:\n  presend"), "{command}: {}", ran.out);
    }
    let ran = run(&["verify", "--help"]);
    for heading in [
        "Input",
        "Output",
        "How far and as whom",
        "Judgement",
        "Pace and patience",
        "What is remembered",
        "For labs and tests",
    ] {
        assert!(ran.out.contains(&format!("\n{heading}:\n")), "{heading}");
    }
}
