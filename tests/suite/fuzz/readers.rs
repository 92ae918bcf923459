//! What every reader of hostile bytes promises, whatever the bytes. Shared with the targets in `fuzz/`.

use presend::{
    address::{Address, Domain, Rules},
    dns::NameServers,
    input::{InputFormat, InputOptions, Row, Table},
    lab::World,
    lists::suggest_domain,
    replies::{classify, fingerprint},
    smtp::{Command, Extensions, MAX_LINE, MAX_LINES, MalformedReply, Reply, ReplyReader, Stage},
};

const STAGES: [Stage; 5] = [Stage::Greeting, Stage::Ehlo, Stage::StartTls, Stage::Mail, Stage::Rcpt];
const PROVIDERS: [Option<&str>; 4] = [None, Some("google"), Some("yandex"), Some("netease")];

/// An address is refused at a place in the text, or can be said in RCPT and parses to itself.
pub(crate) fn address(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for allow_special_use in [false, true] {
        let rules = Rules { allow_special_use };
        match Address::parse(&text, rules) {
            Ok(address) => parsed(&address, rules),
            Err(error) => {
                assert!(error.position <= text.chars().count(), "{text:?}: {error:?}");
                assert!(!error.to_string().is_empty());
                if let Some(suggestion) = error.suggestion {
                    assert_ne!(*suggestion, *text);
                    parsed(
                        &Address::parse(&suggestion, rules).expect("what is suggested parses"),
                        rules,
                    );
                }
            }
        }
        match Domain::parse(&text, rules) {
            Ok(domain) => assert_eq!(Domain::parse(&domain.unicode(), rules), Ok(domain)),
            Err(error) => assert!(error.position <= text.chars().count(), "{text:?}: {error:?}"),
        }
    }
    if let Some(meant) = suggest_domain(&text.to_ascii_lowercase()) {
        assert_ne!(*meant, *text);
        let rules = Rules {
            allow_special_use: true,
        };
        assert_eq!(
            Domain::parse(&meant, rules).map(|domain| domain.to_string()),
            Ok(meant.into_owned())
        );
    }
}

/// What holds of every address, however it was typed.
fn parsed(address: &Address, rules: Rules) {
    let (mailbox, shown) = (address.mailbox(), address.display());
    for form in [mailbox, &shown] {
        assert_eq!(Address::parse(form, rules).as_ref(), Ok(address), "{form:?}");
        assert!(form.len() <= 254, "{form:?}");
    }
    assert!(address.local_part().chars().count() <= 64 && address.domain().len() <= 253);
    let again = Address::parse(mailbox, rules).expect("just parsed");
    assert_eq!(again.mailbox(), mailbox);
    assert!(!again.traits().mapped && !again.traits().cleaned, "{mailbox:?}");
    // A letter with a mark may be one character in lower case alone (U+1E96), and UTF-8 is not folded.
    if mailbox.is_ascii() {
        let folded = Address::parse(&mailbox.to_ascii_lowercase(), rules).expect("case is no fault");
        assert_eq!(folded.join_eq_key(false), address.join_eq_key(false));
        assert_eq!(folded.join_hash(false), address.join_hash(false));
        assert_eq!(folded.join_hash(true) == address.join_hash(true), folded == *address);
    }
    let mut line = Vec::new();
    Command::Rcpt(address)
        .render(&mut line)
        .expect("an address can be said");
    let line = String::from_utf8(line).expect("UTF-8");
    let path = line
        .strip_prefix("RCPT TO:<")
        .and_then(|rest| rest.strip_suffix(">\r\n"));
    assert_eq!(path, Some(mailbox));
    let bare = |c: char| c.is_control() || c == '<' || c == '>' || c.is_whitespace() && !address.traits().quoted_local;
    assert!(!mailbox.contains(bare), "{mailbox:?}");
    assert!(
        !mailbox.contains(|c: char| c.is_whitespace() && c != ' '),
        "{mailbox:?}"
    );
}

/// However the bytes are cut, the replies are the same, bounded and printable; only a 5yz at RCPT is a death.
pub(crate) fn replies(bytes: &[u8]) {
    let (whole, error) = read(bytes, bytes.len().max(1));
    let step = bytes.first().map_or(1, |first| usize::from(first % 7) + 1);
    assert_eq!(read(bytes, step), (whole.clone(), error), "in steps of {step}");
    for reply in &whole {
        assert!((1..=MAX_LINES).contains(&reply.lines().len()));
        for line in reply.lines() {
            // A byte that is not UTF-8 becomes one character of three.
            assert!(
                line.len() <= 3 * MAX_LINE && !line.contains(char::is_control),
                "{line:?}"
            );
        }
        assert!((200..=599).contains(&reply.code().number()));
        assert_eq!(fingerprint(reply), fingerprint(&reply.clone()));
        for stage in STAGES {
            for provider in PROVIDERS {
                let meaning = classify(stage, reply, provider);
                let may_be_dead = stage == Stage::Rcpt && reply.code().is_permanent();
                assert!(may_be_dead || meaning.dead_recipient().is_none(), "{stage:?} {reply:?}");
            }
        }
    }
}

/// Reads all replies, `step` bytes at a time.
fn read(bytes: &[u8], step: usize) -> (Vec<Reply>, Option<MalformedReply>) {
    let mut reader = ReplyReader::default();
    let mut replies = Vec::new();
    for part in bytes.chunks(step) {
        reader.buffer().extend_from_slice(part);
        loop {
            match reader.next_reply() {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => return (replies, Some(error)),
            }
        }
    }
    (replies, None)
}

/// An offer was made in so many words; the first line is only a name.
pub(crate) fn ehlo(bytes: &[u8]) {
    let Some(reply) = Reply::parse(&String::from_utf8_lossy(bytes)) else {
        return;
    };
    let offers = Extensions::parse(&reply);
    let said = |word: &str| {
        let mut lines = reply.lines().iter().skip(1);
        lines.any(|line| line.to_ascii_uppercase().contains(word))
    };
    assert!(!offers.pipelining || said("PIPELINING"));
    assert!(!offers.starttls || said("STARTTLS"));
    assert!(!offers.smtputf8 || said("SMTPUTF8"));
    assert!(offers.rcpt_max.is_none() && offers.mail_max.is_none() || said("LIMITS"));
}

/// A list is refused with its name, or gives rows in order, not more than it has lines.
pub(crate) fn tables(bytes: &[u8]) {
    for format in [
        None,
        Some(InputFormat::Text),
        Some(InputFormat::Csv),
        Some(InputFormat::Ndjson),
    ] {
        let options = InputOptions {
            format,
            ..InputOptions::default()
        };
        let mut table = match Table::from_reader(&mut &bytes[..], "list", &options) {
            Ok(table) => table,
            Err(error) => {
                assert!(error.to_string().contains("list"), "{error}");
                continue;
            }
        };
        let (mut row, mut line, mut count) = (Row::default(), 0, 0);
        while table.read_row(&mut row).expect("memory can be read") {
            assert!(row.line > line, "line {} after line {line}", row.line);
            (line, count) = (row.line, count + 1);
        }
        assert!(count <= bytes.len(), "{count} rows");
    }
}

/// A world is read or refused with its name.
pub(crate) fn world(bytes: &[u8]) {
    if let Err(error) = World::parse(&String::from_utf8_lossy(bytes), "world.toml") {
        assert!(error.to_string().contains("world.toml"), "{error}");
    }
}

/// Name servers are refused, or are at least one and read back the same.
pub(crate) fn name_servers(bytes: &[u8]) {
    let Ok(servers) = String::from_utf8_lossy(bytes).parse::<NameServers>() else {
        return;
    };
    let written: Vec<String> = servers.addresses().iter().map(ToString::to_string).collect();
    assert!(!written.is_empty());
    assert_eq!(written.join(",").parse(), Ok(servers));
}
