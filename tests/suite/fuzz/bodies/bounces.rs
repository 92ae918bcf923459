//! What past mailings left behind: messages, mailboxes, logs. Everybody can write to a bounce address.

use std::{
    io::{BufReader, Cursor},
    path::Path,
    time::SystemTime,
};

use presend::bounce::{
    Event,
    log::{Calendar, Exim, Postfix},
    report::{self, Reading},
    source::{self, Format, Message, Messages, Options, Step, Told, What},
    table::Mapping,
};

/// What may be kept of a message: its start, report parts, and a line more.
const KEPT: usize = (256 + 64 + 8) << 10;

/// A message tells the same twice; what it tells is bounded and harmless, and of people who have addresses.
pub(super) fn reports(bytes: &[u8]) -> bool {
    let read = || report::read(bytes, None);
    match (read(), read()) {
        (Reading::Events(form, events), Reading::Events(again, same)) => {
            assert!(form == again && events == same, "{form:?}");
            assert!(!events.is_empty() && events.len() <= bytes.len());
            events.iter().for_each(harmless);
            true
        }
        (Reading::Other(other), Reading::Other(again)) => {
            assert_eq!(other, again);
            assert!(!other.name().is_empty() && !other.sentence().is_empty());
            false
        }
        (first, second) => panic!("{first:?}, then {second:?}"),
    }
}

fn harmless(event: &Event) {
    let (local, domain) = event.recipient.rsplit_once('@').expect("an address");
    assert!(
        !local.is_empty() && domain.contains('.') && event.recipient.len() <= 254,
        "{}",
        event.recipient
    );
    assert!(!event.recipient.contains(['\r', '\n', '<', '>']), "{}", event.recipient);
    let texts = [
        (&event.reply, 1024),
        (&event.remote_mta, 4 * 255),
        (&event.message_id, 4 * 250),
        (&event.list, 4 * 200),
        (&event.foreign_id, 4 * 250),
    ];
    for (text, limit) in texts {
        let text = text.as_deref().unwrap_or_default();
        assert!(text.len() <= limit, "{} bytes", text.len());
        super::assert_printable(text);
    }
    let years = event
        .at
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
        / (365 * 86_400);
    assert!((4..=131).contains(&years), "{years} years after 1970");
    assert_eq!(event.id(), event.clone().id());
}

/// A stream is split alike however it arrives, and no message is larger than what is kept of one.
pub(super) fn mailbox(bytes: &[u8]) -> bool {
    let mut found = false;
    for mbox in [true, false] {
        let whole = split(bytes, 1 << 16, mbox);
        for size in [1, 7, 100] {
            let again = split(bytes, size, mbox);
            assert_eq!(whole.len(), again.len(), "{size}");
            for (one, other) in whole.iter().zip(&again) {
                assert!(one.bytes == other.bytes && one.received == other.received, "{size}");
            }
        }
        let kept: usize = whole.iter().map(|message| message.bytes.len()).sum();
        assert!(kept <= bytes.len() + whole.len(), "{kept} of {}", bytes.len());
        for (number, message) in (1..).zip(&whole) {
            assert!(message.number == number && message.bytes.len() <= KEPT);
        }
        found |= mbox && whole.iter().any(|message| message.received.is_some());
    }
    found
}

fn split(bytes: &[u8], size: usize, mbox: bool) -> Vec<Message> {
    let mut messages = Messages::new(BufReader::with_capacity(size, Cursor::new(bytes)), mbox);
    let mut all = Vec::new();
    while let Some(message) = messages.next_message().expect("memory can be read") {
        all.push(message);
    }
    all
}

/// Every line gives few events, none later than the log may be, and a complaint has words.
pub(super) fn logs(bytes: &[u8]) -> bool {
    let written = SystemTime::UNIX_EPOCH + std::time::Duration::from_hours(498_250);
    let calendar = Calendar {
        written,
        year: None,
        offset: 0,
    };
    let (mut postfix, mut exim) = (Postfix::new(calendar), Exim::new(calendar));
    let mut events = Vec::new();
    for line in String::from_utf8_lossy(bytes).lines() {
        let before = events.len();
        match postfix.line(line) {
            Ok(found) => events.extend(found),
            Err(fault) => assert!(!fault.is_empty()),
        }
        match exim.line(line) {
            Ok(found) => events.extend(found),
            Err(fault) => assert!(!fault.is_empty()),
        }
        assert!(events.len() - before <= 101, "{line:?}");
    }
    events.iter().for_each(harmless);
    !events.is_empty()
}

/// An export gives the same events every time, no more than it has bytes, in its order; a fault is a short sentence.
pub(super) fn events(bytes: &[u8]) -> bool {
    let pieces = super::pieces(bytes);
    let piece = |number: usize| pieces.get(number).copied().unwrap_or_default();
    let (name, format) = match piece(0).first().copied().unwrap_or_default() {
        b'c' => ("events.csv", None),
        b'C' => ("events", Some(Format::Csv)),
        b'J' => ("events", Some(Format::Json)),
        _ => ("events.json", None),
    };
    let mapping = String::from_utf8_lossy(piece(0).get(1..).unwrap_or_default());
    let mapping = match mapping.parse::<Mapping>() {
        Ok(mapping) => {
            assert_eq!(mapping.to_string().parse(), Ok(mapping.clone()));
            mapping
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            Mapping::default()
        }
    };
    let options = Options {
        format,
        mapping,
        ..Options::default()
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    std::fs::write(&path, piece(1)).expect("a file");
    let steps = steps(&path, &options);
    assert_eq!(format!("{steps:?}"), format!("{:?}", self::steps(&path, &options)));
    let (mut told, mut last) = (0, 0);
    for step in &steps {
        assert!(last <= step.place, "{last}, then {}", step.place);
        last = step.place;
        match &step.what {
            What::Events(Told::Table | Told::Service, events) => {
                assert!(!events.is_empty());
                events.iter().for_each(harmless);
                told += events.len();
            }
            What::Fault(said) => {
                assert!(!said.is_empty() && said.chars().count() <= 3_500, "{said}");
                super::assert_printable(said);
            }
            What::File(_) | What::Events(..) | What::Other(_) | What::Ignored => {}
        }
    }
    let lines = piece(1).iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64;
    assert!(last <= lines + 2, "line {last} of {lines}");
    assert!(told <= piece(1).len(), "{told} events");
    told > 0
}

fn steps(path: &Path, options: &Options) -> Vec<Step> {
    let mut steps = Vec::new();
    let read = source::read::<()>(&[path.to_owned()], options, |step| {
        steps.push(step);
        Ok(())
    });
    read.expect("everything is taken");
    steps
}
