//! What sort of message it is, by its fields and its words: somebody's answer, a question back, a bounce.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::{address, headers::Headers};

/// Phrases in any case, anywhere in a text.
#[derive(Debug)]
pub(super) struct Phrases(Option<AhoCorasick>);

impl Phrases {
    pub(super) fn new(phrases: &[&str]) -> Self {
        Self(AhoCorasick::builder().ascii_case_insensitive(true).build(phrases).ok())
    }

    /// Whether one of them stands in `text`.
    pub(super) fn are_in(&self, text: &str) -> bool {
        self.0.as_ref().is_some_and(|phrases| phrases.is_match(text))
    }
}

static BOUNCE_SUBJECTS: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(&[
        "undeliver",
        "delivery status notif",
        "delivery notification",
        "delivery failure",
        "delivery failed",
        "delivery has failed",
        "delivery report",
        "failure notice",
        "failure delivery",
        "failed mail",
        "mail fail",
        "message fail",
        "returned mail",
        "returning message",
        "returned to sender",
        "mail delivery",
        "message delivery",
        "could not be delivered",
        "could not deliver",
        "not delivered",
        "was not delivered",
        "cannot be delivered",
        "can't be delivered",
        "unable to deliver",
        "nondeliverable",
        "non-deliverable",
        "non-delivery",
        "non delivery",
        "nondelivery",
        "delivery error",
        "delivery problem",
        "delivery incomplete",
        "delivery delayed",
        "delayed mail",
        "warning: message",
        "warning: could not send",
        "still being retried",
        "message status",
        "mail system error",
        "error sending mail",
        "error mail",
        "bounce",
        "message you sent blocked",
        "rejected",
        "problem delivering",
        "permanent error",
        "transient error",
        "address unknown",
        "user unknown",
        "unknown user",
        "unknown address",
        "mailbox full",
        "mailbox is full",
        "quota",
        "notice: mail",
        "mail status",
        "email status",
        "message not sent",
        "not be sent",
        "unzustellbar",
        "nicht zustellbar",
        "zustellung",
        "nicht zugestellt",
        "übermittlungs",
        "non remis",
        "non-remis",
        "non délivr",
        "échec",
        "echec",
        "rapport de non",
        "n'a pas pu être",
        "no se puede entregar",
        "no entregad",
        "no se ha podido entregar",
        "error de entrega",
        "no se pudo",
        "mensaje no",
        "devuelto",
        "impossibile recapit",
        "mancato recapito",
        "non recapit",
        "recapito",
        "não entregue",
        "não foi possível entregar",
        "falha na entrega",
        "falha",
        "onbestelbaar",
        "niet bezorgd",
        "nie można dostarczyć",
        "niedostarczon",
        "zwrot",
        "не доставлен",
        "не удалось доставить",
        "недоставлен",
        "доставк",
        "возврат",
        "配信不能",
        "配信できません",
        "配信エラー",
        "配達不能",
        "送信エラー",
        "未送達",
        "エラーメール",
        "メールエラー",
        "エラー通知",
        "退信",
        "投递失败",
        "无法投递",
        "系统退信",
        "傳遞失敗",
        "배달 실패",
        "전송 실패",
        "iletilemedi",
        "teslim edilemedi",
        "olevererbar",
        "kunne ikke leveres",
        "ei voitu toimittaa",
        "doručit",
        "nedoručiteln",
        "kézbesít",
        "nelivrat",
    ])
});

static ANSWER_SUBJECTS: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(&[
        "out of office",
        "out of the office",
        "out-of-office",
        "automatic reply",
        "auto reply",
        "auto-reply",
        "autoreply",
        "autoresponder",
        "auto response",
        "auto-response",
        "automated reply",
        "automated response",
        "vacation",
        "on holiday",
        "on leave",
        "away from",
        "away notice",
        "maternity leave",
        "i am away",
        "i'm away",
        "on annual leave",
        "abwesenheit",
        "abwesend",
        "automatische antwort",
        "nicht im büro",
        "nicht im haus",
        "urlaub",
        "réponse automatique",
        "reponse automatique",
        "absence du bureau",
        "message d'absence",
        "en congé",
        "absent du bureau",
        "respuesta automática",
        "respuesta automatica",
        "fuera de la oficina",
        "fuera de oficina",
        "ausente",
        "vacaciones",
        "risposta automatica",
        "fuori sede",
        "fuori ufficio",
        "resposta automática",
        "fora do escritório",
        "afwezig",
        "automatisch antwoord",
        "automatická odpověď",
        "autosvar",
        "frånvaro",
        "fraværende",
        "poissa",
        "automaattinen vastaus",
        "autoodpowiedź",
        "nieobecno",
        "automatyczna odpowiedź",
        "автоответ",
        "автоматический ответ",
        "нет на месте",
        "в отпуске",
        "不在",
        "自動返信",
        "自動応答",
        "自动回复",
        "自動回覆",
        "休假",
        "外出",
        "자동 회신",
        "부재중",
        "otomatik yanıt",
        "ofis dışında",
        "thank you for contacting",
        "thank you for your email",
        "we have received your",
        "we received your",
        "ticket received",
        "[auto]",
        "acknowledg",
    ])
});

static CHALLENGES: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(&[
        "confirm that you are a real",
        "confirm you are human",
        "prove you are human",
        "prove that you are human",
        "verify that you are a human",
        "verify you are human",
        "you are not a spammer",
        "you're not a spammer",
        "challenge-response",
        "challenge/response",
        "spam arrest",
        "spamarrest",
        "boxbe",
        "tmda",
        "is protected by",
        "to have your message delivered",
        "to deliver your message",
        "to release your message",
        "release your message to",
        "approved senders list",
        "approved sender list",
        "added to my allowed",
        "list of approved senders",
        "add you to my",
        "whitelist request",
        "whitelisted",
        "sender verification request",
        "please verify your email to",
        "reply to this message to confirm",
        "click the link below to prove",
        "click on the link below to deliver",
        "one-time confirmation",
        "one-time verification",
        "cleanmail",
        "mailinblack",
        "mail in black",
        "bluebottle",
        "authenticate your message",
        "authenticate yourself",
        "awaiting your confirmation",
        "confirm your message",
        "confirm your identity",
        "confirm delivery of your",
        "bestätigen sie ihre nachricht",
        "confirmez votre envoi",
    ])
});

static CHALLENGE_SUBJECTS: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(&[
        "challenge",
        "please confirm your",
        "confirm your message",
        "confirm your email",
        "please confirm",
        "confirmation required",
        "verification required",
        "verify your",
        "verification needed",
        "your action is needed",
        "your action is required",
        "[boxbe]",
        "boxbe",
        "action required to deliver",
        "authentication required",
        "human verification",
        "sender verification",
        "whitelist",
        "mailinblack",
        "bestätigung",
        "confirmez",
        "please authenticate",
        "needs your confirmation",
    ])
});

static DAEMONS: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(&[
        "mailer-daemon",
        "mailerdaemon",
        "mailer_daemon",
        "mail-daemon",
        "maildaemon",
        "mdaemon",
        "postmaster",
        "mail delivery",
        "mail administrator",
        "mail system",
        "system administrator",
        "microsoftexchange",
        "delivery subsystem",
        "post_master",
        "postmast@",
        "delivery-status",
        "bounce",
        "undeliver",
        "mail gateway",
    ])
});

/// Mail that says that it did not arrive.
static BOUNCE_TEXTS: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(&[
        "could not be delivered",
        "couldn't be delivered",
        "cannot be delivered",
        "can't be delivered",
        "not be delivered",
        "was not delivered",
        "wasn't delivered",
        "unable to deliver",
        "could not deliver",
        "couldn't deliver",
        "wasn't able to deliver",
        "not able to deliver",
        "delivery failed",
        "delivery has failed",
        "failed to deliver",
        "failed permanently",
        "delivery to the following",
        "did not reach the following",
        "permanent fatal errors",
        "permanent error",
        "permanent delivery errors",
        "transient non-fatal errors",
        "transcript of session follows",
        "undeliverable",
        "unable to relay",
        "was returned",
        "returned to sender",
        "returned mail",
        "user unknown",
        "unknown user",
        "no such user",
        "mailbox is full",
        "over quota",
        "has been rejected",
        "was rejected",
        "delivery status notification",
        "failed addresses",
        "failed recipient",
        "pas pu etre",
        "rejected your message",
        "error delivering",
        "nicht zugestellt",
        "unzustellbar",
        "nicht zustellbar",
        "n'a pas pu être",
        "n'a pu être",
        "n'a pas été",
        "no se pudo",
        "no se puede",
        "no ha podido",
        "no pudo ser",
        "impossibile",
        "non è stato possibile",
        "não foi possível",
        "não pôde",
        "не может быть доставлен",
        "не доставлен",
        "не удалось доставить",
        "не было доставлено",
        "配信できません",
        "配信でき",
        "届けることができません",
        "送信できません",
        "送信できませんでした",
        "無法",
        "无法",
        "niet bezorgd",
        "niet worden afgeleverd",
    ])
});

/// The text says that the host still tries.
static DELAYS: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(&[
        "this is a warning message only",
        "you do not need to resend",
        "no action is required on your part",
        "delivery attempts will continue",
        "will be retried",
        "will continue to be retried",
        "still trying to deliver",
        "will continue trying",
        "will keep trying",
        "is still in the queue",
        "still undelivered after",
        "not yet been delivered",
        "not been delivered yet",
        "has been postponed",
        "will continue to try to deliver",
        "has been delayed",
        "is delayed",
        "delivery delayed",
        "temporary problem delivering",
        "wird weiterhin versucht",
        "zustellung verzögert",
        "noch nicht zugestellt",
        "sera retenté",
        "se volverá a intentar",
        "повторные попытки",
    ])
});

/// What the fields of a message show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A mail system reports.
    Bounce,
    /// A person's program answers: a vacation notice (RFC 3834).
    Answer,
    /// A person's program asks back before it lets the message through.
    Challenge,
    /// A person wants no more mail.
    Unsubscribe,
    /// Anything else.
    Ordinary,
}

/// What sort of message this is. A report by its media type was recognised before.
pub(super) fn of(headers: &Headers, text: &str) -> Kind {
    let subject = headers.get("subject").unwrap_or_default();
    let from = headers.get("from").unwrap_or_default();
    let daemon = DAEMONS.are_in(from) || headers.get("x-failed-recipients").is_some() || is_null_path(headers);
    let answers = is_automatic(headers);
    if headers.get("x-failed-recipients").is_some() {
        return Kind::Bounce;
    }
    if is_unsubscribe(subject, text, daemon) {
        return Kind::Unsubscribe;
    }
    let says_bounce = BOUNCE_SUBJECTS.are_in(subject);
    if ANSWER_SUBJECTS.are_in(subject) && !says_bounce {
        return Kind::Answer;
    }
    let is_challenge = headers.get("x-boxbe").is_some() || CHALLENGE_SUBJECTS.are_in(subject) || !says_bounce;
    if is_challenge && CHALLENGES.are_in(text) && !(daemon && BOUNCE_TEXTS.are_in(text)) {
        return Kind::Challenge;
    }
    let daemon_speaks = DAEMONS.are_in(from) && BOUNCE_TEXTS.are_in(text);
    if says_bounce && (daemon || BOUNCE_TEXTS.are_in(text)) && !is_conversation(subject, daemon) || daemon_speaks {
        return Kind::Bounce;
    }
    if answers
        || ANSWER_SUBJECTS.are_in(
            text.get(..text.floor_char_boundary(text.len().min(300)))
                .unwrap_or_default(),
        )
    {
        return Kind::Answer;
    }
    if daemon && BOUNCE_TEXTS.are_in(text) {
        return Kind::Bounce;
    }
    Kind::Ordinary
}

/// Whether the words say that delivery is only late.
pub(super) fn is_delay(subject: &str, text: &str) -> bool {
    let subject = subject.to_lowercase();
    let late = [
        "delayed",
        "(delay)",
        "warning:",
        "still being retried",
        "verzöger",
        "retard",
    ];
    let ends = ["fail", "user unknown", "unknown user", "no such user"];
    let says_late = late.iter().any(|word| subject.contains(word));
    says_late && !ends.iter().any(|word| subject.contains(word)) || DELAYS.are_in(text)
}

/// A person's mail about a bounce.
fn is_conversation(subject: &str, daemon: bool) -> bool {
    let lower = subject.trim_start().to_lowercase();
    !daemon
        && ["re:", "aw:", "sv:", "rv:", "fwd:", "fw:", "wg:", "tr:"]
            .iter()
            .any(|mark| lower.starts_with(mark))
}

fn is_null_path(headers: &Headers) -> bool {
    headers
        .get("return-path")
        .is_some_and(|path| path.trim() == "<>" || path.to_ascii_lowercase().contains("mailer-daemon"))
}

/// RFC 3834 section 5, and what came before it.
fn is_automatic(headers: &Headers) -> bool {
    let says = |name: &str, words: &[&str]| {
        headers.get(name).is_some_and(|value| {
            let value = value.to_ascii_lowercase();
            words.iter().any(|word| value.contains(word))
        })
    };
    says("auto-submitted", &["auto-replied", "auto-generated", "auto-notified"])
        || says("x-auto-submitted", &["auto-replied"])
        || says("precedence", &["auto_reply", "auto-reply"])
        || says("x-auto-response-suppress", &["all", "oof", "autoreply"])
        || [
            "x-autoreply",
            "x-autorespond",
            "x-autoresponder",
            "x-autogenerated",
            "x-autoreply-from",
            "x-mail-autoreply",
            "x-vacation",
            "x-amz-auto-reply",
        ]
        .iter()
        .any(|name| headers.get(name).is_some())
}

/// A mail to the address of `List-Unsubscribe` (RFC 2369): one word and nothing more.
fn is_unsubscribe(subject: &str, text: &str, daemon: bool) -> bool {
    let subject = subject.trim().to_lowercase();
    let word = |text: &str| {
        let first = text.split_whitespace().next().unwrap_or_default().to_lowercase();
        let first = first.trim_matches(|c: char| !c.is_alphanumeric());
        [
            "unsubscribe",
            "remove",
            "abmelden",
            "désabonnement",
            "désinscription",
            "desuscribir",
            "cancelar",
            "optout",
            "unsub",
        ]
        .contains(&first)
    };
    let short = text.trim().len() <= 300 && text.split_whitespace().count() <= 12;
    let blank = subject.is_empty() || subject.chars().all(|c| c.is_ascii_digit());
    !daemon && (word(&subject) && subject.len() <= 200 || blank && short && word(text))
}

/// Who called the message junk at Outlook.com, whose reports (JMRP) are messages with a message inside and no fields of RFC 5965.
pub(super) fn junk(headers: &Headers, original: &Headers) -> Option<std::sync::Arc<str>> {
    let subject = headers.get("subject")?.trim_start().to_ascii_lowercase();
    let recipient = original.get("x-hmxmroriginalrecipient")?;
    let is_report = subject.starts_with("complaint about message from");
    address::mailbox(recipient.trim_matches(['<', '>', ' '])).filter(|_| is_report)
}

/// Who wrote the message.
pub(super) fn author(headers: &Headers) -> Option<std::sync::Arc<str>> {
    let from = headers.get("from")?;
    let spot = address::all(from).last()?;
    address::mailbox(spot.text)
}
