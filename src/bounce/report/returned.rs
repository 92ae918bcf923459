//! Where in a text the message that came back begins.

use std::sync::LazyLock;

use super::kind::Phrases;

/// Lines above the message that came back.
static MARKS: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(&[
        "below this line is a copy",
        "is a copy of the message",
        "is a copy of your message",
        "copy of the original message",
        "original message follows",
        "original message headers",
        "unsent message follows",
        "unsent message below",
        "returned message -",
        "original message -",
        "message headers follow",
        "header of the original message",
        "headers of the original message",
        "headers of your original message",
        "message header follows",
        "original message header",
        "message contents follow",
        "the original message was:",
        "returned text follows",
        "message text follows",
        "the message you sent",
        "included message",
        "begin of original message",
        "original-nachricht",
        "ursprüngliche nachricht",
        "kopie der nachricht",
        "nachrichtenkopf",
        "en-têtes d'origine",
        "copie de votre message",
        "copie du message",
        "mensaje original",
        "copia del mensaje",
        "messaggio originale",
        "mensagem original",
        "исходное сообщение",
        "копия вашего",
        "заголовки письма",
        "元のメッセージ",
        "----- original",
        "--- original",
        "message that caused",
        "original mail header",
        "attached the original message",
        "your original message",
        "original message text",
        "reproduced below",
        "message is attached below",
        "included below",
        "first few lines",
        "-- header",
        "received: from",
        "the body of the original",
        "returned message",
        "returned mail follows",
    ])
});

/// Where the message that came back begins: the end of what the server says, and the first line of its fields.
pub(super) fn at(lines: &[&str]) -> (usize, Option<usize>) {
    let mut mark = None;
    for (number, line) in lines.iter().enumerate() {
        let indented = line.len() - line.trim_start().len();
        let line = line.trim();
        let short = line.len() <= 160 && !line.ends_with(',');
        if number > 1 && short && mark.is_none() && MARKS.are_in(line) && !is_prose(line) {
            mark = Some(number);
        }
        // What is indented is told of the message, not the message.
        if indented == 0 && is_field(unquoted(line)) && is_block(lines, number) {
            return (mark.unwrap_or(number).min(number), Some(number));
        }
    }
    match mark {
        Some(mark) if lines.len() - mark > 2 => {
            let fields = (mark + 1..lines.len()).find(|number| lines.get(*number).is_some_and(|line| is_field(line)));
            match fields {
                Some(fields) => (mark, Some(fields)),
                // Some only announce an attachment, and go on.
                None => (lines.len(), None),
            }
        }
        Some(_) | None => (lines.len(), None),
    }
}

/// A line of a message that is quoted as people do.
fn unquoted(line: &str) -> &str {
    line.strip_prefix('>').map_or(line, str::trim_start)
}

/// A sentence about the copy, not a line above it.
fn is_prose(line: &str) -> bool {
    line.ends_with('.') && line.split_whitespace().count() > 12
}

/// A field name that mail has, at the start of a line.
fn is_field(line: &str) -> bool {
    let Some((name, _)) = line.split_once(':') else {
        return false;
    };
    let known = [
        "received",
        "return-path",
        "message-id",
        "from",
        "to",
        "subject",
        "date",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
        "x-mailer",
        "dkim-signature",
        "reply-to",
        "cc",
        "sender",
        "delivered-to",
        "x-original-to",
        "in-reply-to",
        "references",
        "user-agent",
        "importance",
        "x-priority",
    ];
    known.iter().any(|known| name.trim().eq_ignore_ascii_case(known))
        || name.len() < 40 && name.starts_with("X-") && !name.contains(' ')
}

/// Whether the fields of a message begin at this line: three of them close together, one of which only a message has.
fn is_block(lines: &[&str], start: usize) -> bool {
    let mut fields = 0;
    let mut certain = false;
    for line in lines.iter().skip(start).take(16) {
        let line = line
            .strip_prefix('>')
            .map_or(*line, |rest| rest.strip_prefix(' ').unwrap_or(rest));
        let folded = line.starts_with([' ', '\t']);
        let line = line.trim();
        if is_field(line) {
            fields += 1;
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            certain |= ["received", "message-id", "return-path", "mime-version"].contains(&name.as_str());
        } else if !folded {
            break;
        }
    }
    fields >= 3 && certain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_returned_message_is_found() {
        for (text, expected) in [
            (
                "a\n\nb\n--- Below this line is a copy of the message.\n\nReturn-Path: <a@example.org>\nTo: b@example.com",
                (3, Some(5)),
            ),
            (
                "a\n\nb\n\nReceived: from a\n\tby b\nFrom: a@example.org\nTo: b@example.com",
                (4, Some(4)),
            ),
            (
                "Your message\n\n  To: b@example.com\n  Subject: x\n\ndid not reach b@example.com",
                (6, None),
            ),
        ] {
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(at(&lines), expected, "{text}");
        }
    }
}
