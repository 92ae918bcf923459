//! What past mailings left behind: reports with known answers, sources of every kind, hostile ones, and the command.

mod corpus;
mod hostile;
mod import;
mod sources;
