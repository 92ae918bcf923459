//! The typed session: one type per protocol state, and in each state only the commands that may be said there.
//!
//! ```text
//! Connected --greeting--> Greeted --hello--> Ready --mail_from--> InTransaction --rset--> Ready
//! ```
//!
//! After RCPT there is nothing but RCPT, RSET and QUIT; DATA does not exist:
//!
//! ```compile_fail
//! async fn deliver(mut session: presend::smtp::Session<presend::smtp::InTransaction>) {
//!     session.data().await;
//! }
//! ```
//!
//! RCPT outside a transaction does not compile either:
//!
//! ```compile_fail
//! async fn skip_mail(
//!     mut session: presend::smtp::Session<presend::smtp::Ready>,
//!     address: &presend::address::Address,
//! ) {
//!     session.rcpt_to(address).await;
//! }
//! ```

use super::{
    Command, Extensions, Identity, Reply, Stage, Transcript,
    wire::{Fault, Wire, WireParts},
};
use crate::address::Address;

/// The state before the greeting.
#[derive(Debug)]
pub struct Connected(());
/// The state after a 220 greeting.
#[derive(Debug)]
pub struct Greeted(());
/// The state after EHLO (or HELO), outside a transaction.
#[derive(Debug)]
pub struct Ready(());
/// The state after an accepted MAIL FROM.
#[derive(Debug)]
pub struct InTransaction(());

/// An SMTP session in state `S`.
pub struct Session<S> {
    wire: Wire,
    extensions: Extensions,
    encrypted: bool,
    #[expect(dead_code, reason = "the state exists for the compiler")]
    state: S,
}

/// A session that is over, with what it left behind.
#[derive(Debug)]
pub struct Ended {
    /// The command that was being spoken.
    pub stage: Stage,
    /// Why.
    pub why: Why,
    /// The dialogue, if it was kept.
    pub transcript: Option<Transcript>,
}

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The peer said no.
    Refused(Reply),
    /// The connection or the protocol failed.
    Fault(Fault),
}

/// The replies to one transaction of a burst.
#[derive(Debug)]
pub struct Replies {
    /// To MAIL FROM.
    pub mail: Reply,
    /// To each RCPT TO, in order; fewer than asked when the session ended early.
    pub rcpt: Vec<Reply>,
}

/// One transaction of a burst.
#[derive(Debug, Clone, Copy)]
pub struct Transaction<'a> {
    /// The recipients, all at one domain.
    pub recipients: &'a [&'a Address],
    /// A recipient needs SMTPUTF8.
    pub smtputf8: bool,
}

impl<S> Session<S> {
    /// What the host offers; empty before EHLO.
    #[must_use]
    pub fn extensions(&self) -> Extensions {
        self.extensions
    }

    /// Whether the session is encrypted.
    #[must_use]
    pub fn encrypted(&self) -> bool {
        self.encrypted
    }

    /// Says QUIT and closes.
    ///
    /// # Errors
    /// A reply turned up that nobody asked for: what was heard before belongs to other commands.
    pub async fn quit(mut self) -> Result<Option<Transcript>, Ended> {
        match self.wire.quit().await {
            Ok(()) => Ok(self.wire.transcript()),
            Err(fault) => Err(Ended {
                stage: Stage::Quit,
                why: Why::Fault(fault),
                transcript: self.wire.transcript(),
            }),
        }
    }

    fn into_state<T>(self, state: T) -> Session<T> {
        Session {
            wire: self.wire,
            extensions: self.extensions,
            encrypted: self.encrypted,
            state,
        }
    }

    /// Ends after a refusal, politely.
    async fn refused(mut self, stage: Stage, reply: Reply) -> Ended {
        // Nothing but a refusal was heard, and it is nobody's answer.
        let _ = self.wire.quit().await;
        Ended {
            stage,
            why: Why::Refused(reply),
            transcript: self.wire.transcript(),
        }
    }

    /// Ends after a fault; QUIT is said wherever somebody may still listen.
    async fn failed(mut self, stage: Stage, fault: Fault) -> Ended {
        match fault {
            Fault::Closed | Fault::TlsBroken => {}
            // Whoever speaks before the greeting is a spammer to postscreen, even with QUIT.
            Fault::Timeout | Fault::Tarpit if stage == Stage::Greeting => {}
            Fault::Timeout
            | Fault::Tarpit
            | Fault::Malformed(_)
            | Fault::Desynchronised
            | Fault::TlsInjection
            | Fault::Loop
            | Fault::Unsayable => {
                // One fault is enough.
                let _ = self.wire.quit().await;
            }
        }
        Ended {
            stage,
            why: Why::Fault(fault),
            transcript: self.wire.transcript(),
        }
    }
}

impl Session<Connected> {
    /// A session over a fresh connection.
    #[must_use]
    pub fn new(parts: WireParts) -> Self {
        Self {
            wire: Wire::new(parts),
            extensions: Extensions::default(),
            encrypted: false,
            state: Connected(()),
        }
    }

    /// Waits for the 220 greeting; we never speak first (HOSTILE S5).
    ///
    /// # Errors
    /// The host refuses the session, does not speak SMTP, or greets with our own name.
    pub async fn greeting(mut self, identity: &Identity) -> Result<Session<Greeted>, Ended> {
        let reply = match self.wire.reply().await {
            Ok(reply) => reply,
            Err(fault) => return Err(self.failed(Stage::Greeting, fault).await),
        };
        if !reply.code().is_positive() {
            return Err(self.refused(Stage::Greeting, reply).await);
        }
        let name = reply
            .lines()
            .first()
            .and_then(|line| line.split_ascii_whitespace().next())
            .unwrap_or_default();
        if name.eq_ignore_ascii_case(&identity.helo_name()) {
            return Err(self.failed(Stage::Greeting, Fault::Loop).await);
        }
        Ok(self.into_state(Greeted(())))
    }
}

impl Session<Greeted> {
    /// Says EHLO, or HELO to a host that does not know it, and encrypts where the host offers that and `tls` permits.
    ///
    /// # Errors
    /// The host refuses both, or the handshake fails: then the caller may connect once more with `tls` off.
    pub async fn hello(mut self, identity: &Identity, tls: bool) -> Result<Session<Ready>, Ended> {
        if let Err(end) = self.ehlo(identity).await {
            return Err(self.end(Stage::Ehlo, end).await);
        }
        if tls && self.extensions.starttls {
            if let Err(end) = self.start_tls().await {
                return Err(self.end(Stage::StartTls, end).await);
            }
            if self.encrypted {
                // What was offered in clear may have been forged (RFC 3207 section 4.2): it is forgotten and asked again.
                if let Err(end) = self.ehlo(identity).await {
                    return Err(self.end(Stage::Ehlo, end).await);
                }
            }
        }
        Ok(self.into_state(Ready(())))
    }

    async fn ehlo(&mut self, identity: &Identity) -> Result<(), Why> {
        self.extensions = Extensions::default();
        let reply = self.wire.ask(Command::Ehlo(identity)).await.map_err(Why::Fault)?;
        if reply.code().is_positive() {
            self.extensions = Extensions::parse(&reply);
            return Ok(());
        }
        if !reply.code().is_permanent() {
            return Err(Why::Refused(reply));
        }
        let second = self.wire.ask(Command::Helo(identity)).await.map_err(Why::Fault)?;
        if second.code().is_positive() {
            Ok(())
        } else {
            Err(Why::Refused(second))
        }
    }

    async fn start_tls(&mut self) -> Result<(), Why> {
        let reply = self.wire.ask(Command::StartTls).await.map_err(Why::Fault)?;
        if reply.code().number() != 220 {
            self.wire.note("STARTTLS was offered and refused; going on in clear");
            return Ok(());
        }
        self.wire.start_tls().await.map_err(Why::Fault)?;
        self.encrypted = true;
        Ok(())
    }

    async fn end(self, stage: Stage, why: Why) -> Ended {
        match why {
            Why::Refused(reply) => self.refused(stage, reply).await,
            Why::Fault(fault) => self.failed(stage, fault).await,
        }
    }
}

/// What MAIL FROM led to.
pub enum Mail {
    /// A transaction.
    Accepted(Session<InTransaction>),
    /// A refusal; the session goes on.
    Refused(Session<Ready>, Reply),
}

impl Session<Ready> {
    /// Says MAIL FROM.
    ///
    /// # Errors
    /// The connection or the protocol failed.
    pub async fn mail_from(mut self, identity: &Identity, smtputf8: bool) -> Result<Mail, Ended> {
        match self.wire.ask(Command::Mail { identity, smtputf8 }).await {
            Ok(reply) if reply.code().is_positive() => Ok(Mail::Accepted(self.into_state(InTransaction(())))),
            Ok(reply) => Ok(Mail::Refused(self, reply)),
            Err(fault) => Err(self.failed(Stage::Mail, fault).await),
        }
    }

    /// Says several transactions in one write (RFC 2920) and reads every reply by its place. The caller keeps a burst under
    /// about a hundred commands, so that neither side can block on a full socket.
    ///
    /// Replies read before a fault are in `replies` and stay true, unless the fault means that replies and commands no longer
    /// match.
    ///
    /// # Errors
    /// The connection or the protocol failed.
    pub async fn burst(
        self,
        identity: &Identity,
        transactions: &[Transaction<'_>],
        replies: &mut Vec<Replies>,
    ) -> Result<Session<InTransaction>, Ended> {
        self.into_state(InTransaction(()))
            .burst_after(identity, transactions, replies, false)
            .await
    }
}

impl Session<InTransaction> {
    /// Says RCPT TO.
    ///
    /// # Errors
    /// The connection or the protocol failed.
    pub async fn rcpt_to(mut self, recipient: &Address) -> Result<(Self, Reply), Ended> {
        match self.wire.ask(Command::Rcpt(recipient)).await {
            Ok(reply) => Ok((self, reply)),
            Err(fault) => Err(self.failed(Stage::Rcpt, fault).await),
        }
    }

    /// Says RSET.
    ///
    /// # Errors
    /// The host refuses RSET, or the connection failed.
    pub async fn rset(mut self) -> Result<Session<Ready>, Ended> {
        match self.wire.ask(Command::Rset).await {
            Ok(reply) if reply.code().is_positive() => Ok(self.into_state(Ready(()))),
            Ok(reply) => Err(self.refused(Stage::Rset, reply).await),
            Err(fault) => Err(self.failed(Stage::Rset, fault).await),
        }
    }

    /// A burst that starts with RSET; see [`Session::<Ready>::burst`].
    ///
    /// # Errors
    /// The connection or the protocol failed.
    pub async fn burst(
        self,
        identity: &Identity,
        transactions: &[Transaction<'_>],
        replies: &mut Vec<Replies>,
    ) -> Result<Self, Ended> {
        self.burst_after(identity, transactions, replies, true).await
    }

    async fn burst_after(
        mut self,
        identity: &Identity,
        transactions: &[Transaction<'_>],
        replies: &mut Vec<Replies>,
        reset_first: bool,
    ) -> Result<Self, Ended> {
        match self.speak(identity, transactions, replies, reset_first).await {
            Ok(()) => Ok(self),
            Err((stage, Why::Fault(fault))) => Err(self.failed(stage, fault).await),
            Err((stage, Why::Refused(reply))) => Err(self.refused(stage, reply).await),
        }
    }

    async fn speak(
        &mut self,
        identity: &Identity,
        transactions: &[Transaction<'_>],
        replies: &mut Vec<Replies>,
        reset_first: bool,
    ) -> Result<(), (Stage, Why)> {
        let fault = |stage| move |fault| (stage, Why::Fault(fault));
        for (index, transaction) in transactions.iter().enumerate() {
            if reset_first || index > 0 {
                self.wire.queue(Command::Rset).map_err(fault(Stage::Rset))?;
            }
            let smtputf8 = transaction.smtputf8;
            self.wire
                .queue(Command::Mail { identity, smtputf8 })
                .map_err(fault(Stage::Mail))?;
            for recipient in transaction.recipients {
                self.wire.queue(Command::Rcpt(recipient)).map_err(fault(Stage::Rcpt))?;
            }
        }
        self.wire.flush().await.map_err(fault(Stage::Mail))?;
        for (index, transaction) in transactions.iter().enumerate() {
            if reset_first || index > 0 {
                let reply = self.wire.reply().await.map_err(fault(Stage::Rset))?;
                if !reply.code().is_positive() {
                    return Err((Stage::Rset, Why::Refused(reply)));
                }
            }
            let mail = self.wire.reply().await.map_err(fault(Stage::Mail))?;
            let mut rcpt = Vec::with_capacity(transaction.recipients.len());
            let mut result = Ok(());
            for _ in transaction.recipients {
                match self.wire.reply().await {
                    Ok(reply) => rcpt.push(reply),
                    Err(error) => {
                        result = Err((Stage::Rcpt, Why::Fault(error)));
                        break;
                    }
                }
            }
            replies.push(Replies { mail, rcpt });
            result?;
        }
        Ok(())
    }
}

impl<S> std::fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("extensions", &self.extensions)
            .finish_non_exhaustive()
    }
}
