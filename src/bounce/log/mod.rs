//! Reads the logs of mail servers line by line: what became of each recipient, with the reply of the host.
//!
//! A line that tells of nothing of the kind is no fault; a log has many.

mod exim;
mod postfix;
mod stamp;

pub use exim::Exim;
pub use postfix::Postfix;
pub use stamp::Calendar;

use std::collections::{HashMap, VecDeque};

/// Most messages that are remembered at once.
const MESSAGES: usize = 50_000;
/// Longest line that is read.
const LINE: usize = 16 << 10;

/// What earlier lines told of messages, by their number in the queue; the oldest is forgotten first.
#[derive(Debug)]
struct Queue<T> {
    known: HashMap<Box<str>, T>,
    order: VecDeque<Box<str>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<T: Default> Queue<T> {
    fn get(&self, id: &str) -> Option<&T> {
        self.known.get(id)
    }

    fn entry(&mut self, id: &str) -> &mut T {
        if !self.known.contains_key(id) {
            if self.order.len() >= MESSAGES
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
            self.order.push_back(id.into());
        }
        self.known.entry(id.into()).or_default()
    }
}

/// Which server wrote a log, by some of its lines.
#[must_use]
pub(super) fn of(sample: &str) -> Option<Server> {
    sample.lines().take(200).find_map(|line| {
        if postfix::is_line(line) {
            Some(Server::Postfix)
        } else if exim::is_line(line) {
            Some(Server::Exim)
        } else {
            None
        }
    })
}

/// A mail server whose log can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Postfix,
    Exim,
}

/// The part of a line that is read.
fn bounded(line: &str) -> &str {
    line.get(..line.floor_char_boundary(LINE.min(line.len())))
        .unwrap_or_default()
}
