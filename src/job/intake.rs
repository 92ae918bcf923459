//! A list that is taken in now and asked about later: its rows go into the store, and nobody is asked.

use super::{Engine, Level, VerifyError, rows::Import};
use crate::{
    input::{Row, Table},
    store::{Lease, NewJob, Store},
};

/// Rows in the store that are no job yet: whoever took them in accepts or discards them.
#[derive(Debug, Clone)]
pub struct TakenIn {
    /// The right to do so.
    pub lease: Lease,
    /// How many rows there are.
    pub rows: u64,
    /// Tells equal lists.
    pub digest: [u8; 16],
}

impl Engine {
    /// Reads a list into `store`; `name` is for people.
    ///
    /// # Errors
    /// The list cannot be read to its end, or the store cannot be written; nothing is left behind then.
    pub async fn take_in(
        &self,
        table: &mut Table,
        store: &dyn Store,
        name: &str,
        level: Level,
    ) -> Result<TakenIn, VerifyError> {
        let mut settings: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&self.settings.description).unwrap_or_default();
        settings.insert("level".to_owned(), level.name().into());
        let job = NewJob {
            source: name.to_owned(),
            settings: serde_json::Value::Object(settings).to_string(),
            ..self.description(table)
        };
        let lease = store.create(&job).map_err(std::sync::Arc::new)?;
        match read(table, store, &lease).await {
            Ok((rows, digest)) => Ok(TakenIn { lease, rows, digest }),
            Err(error) => {
                // The error that ends it says more than one of the clearing up.
                let _ = store.discard(&lease);
                Err(error)
            }
        }
    }
}

async fn read(table: &mut Table, store: &dyn Store, lease: &Lease) -> Result<(u64, [u8; 16]), VerifyError> {
    let (mut import, mut row) = (Import::new(store, lease), Row::default());
    while table.read_row(&mut row)? {
        import.add(&row).await?;
    }
    let read = import.finish();
    super::rows::flushed(store).await?;
    Ok(read)
}
