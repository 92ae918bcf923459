//! presend tells, before a message is sent, what will happen to mail for an address.
//!
//! Data flows downwards through these modules; a lower module never knows its caller:
//!
//! ```text
//! row -> Address -> ListHits -> MailRoute -> probe plan -> Session transcript -> Meaning -> Evidence -> judge -> Verdict -> report
//!  input  address    lists        dns          schedule        smtp               replies     verdict               output
//! ```
//!
//! Three seams exist for tests and the miniature internet: [`dns::Resolve`], [`net::Dial`] and [`clock::Clock`].

pub mod address;
pub mod bounce;
pub mod cli;
pub mod clock;
pub mod dns;
pub mod doctor;
pub mod input;
pub mod job;
pub mod lab;
pub mod lint;
pub mod lists;
pub mod meter;
pub mod net;
pub mod output;
pub mod replies;
pub mod schedule;
pub mod serve;
pub mod smtp;
pub mod stop;
pub mod store;
pub mod suppress;
pub mod verdict;
