//! Removes executions with all their items and objects.

use super::store::DynamoRecords;
use crate::{
    keys,
    table::{Item, Key, Query, get_text, text},
};
use tidemill_core::ids::ExecutionId;
use tidemill_services::error::Result;

impl DynamoRecords {
    /// Removes an execution. Its own item is the last one, so that an interrupted removal is found again.
    pub(super) async fn remove_all(&self, id: ExecutionId) -> Result<()> {
        let home = id.partition();
        self.table.meter().attribute_to(&home);
        for pk in [keys::artifacts(&home), keys::definition(&home), keys::home(id)] {
            let query = Query {
                condition: "pk = :pk",
                values: Item::from([(":pk".to_owned(), text(&pk))]),
                consistent: true,
                projection: Some("pk, sk, o, so"),
                ..Query::default()
            };
            let items = self.table.query(query).await?;
            for item in &items {
                for object in ["o", "so"].into_iter().filter_map(|name| get_text(item, name)) {
                    self.definitions.remove(object).await?;
                }
            }
            let sort_keys = items.iter().filter_map(|item| get_text(item, "sk"));
            let (own, others): (Vec<Key>, Vec<Key>) =
                sort_keys.map(|sk| Key::new(&pk, sk)).partition(|key| key.sk == keys::EXECUTION);
            self.table.delete_all(&others).await?;
            self.table.delete_all(&own).await?;
        }
        Ok(())
    }
}
