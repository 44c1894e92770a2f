//! The stream of a table.

mod pattern;
mod reader;
mod record;

use aws_sdk_dynamodb::Client as TablesClient;
use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::config::{Config, Region};

use crate::engine::{self, error_chain};
use crate::tables::stream_specification;
use crate::template::{StreamSource, Template};

pub use reader::StreamReader;
pub(crate) use record::sequence_number;

/// The stream of a table, and the function that it feeds.
#[derive(Debug, Clone)]
pub struct Stream {
    client: Client,
    arn: String,
    source: StreamSource,
    fault_seed: Option<u64>,
}

impl Stream {
    /// Opens the stream from which the template feeds a function. The table is called `table` at `endpoint`. A stream that
    /// is off is switched on.
    ///
    /// # Errors
    /// One line, when the table has no stream.
    pub async fn open(
        endpoint: &str,
        tables: &TablesClient,
        template: &Template,
        logical_id: &str,
        table: &str,
    ) -> Result<Self, String> {
        let found = template.stream_sources().into_iter().find(|source| source.table == logical_id);
        let source = found.ok_or_else(|| format!("template.yaml feeds no function from {logical_id}"))?;
        let client = Client::from_conf(
            Config::builder()
                .behavior_version_latest()
                .http_client(aws_smithy_http_client::Builder::new().build_http())
                .region(Region::new(engine::CLIENT_REGION))
                .credentials_provider(engine::credentials())
                .endpoint_url(endpoint)
                .build(),
        );
        let failed =
            |error: &dyn std::error::Error| format!("no stream of the table {table}: {}", error_chain(error));
        let listed = client.list_streams().table_name(table).send().await;
        let streams = listed.map_err(|error| failed(&error))?.streams.unwrap_or_default();
        let arn = match streams.into_iter().next_back() {
            Some(stream) => stream.stream_arn,
            // DynamoDB Local looks through all tables for this, so that `tables::ensure` creates tables with their streams.
            None => {
                let update = tables.update_table().table_name(table);
                let specification = stream_specification(template, logical_id);
                let updated = update.set_stream_specification(specification).send().await;
                let table = updated.map_err(|error| failed(&error))?.table_description;
                table.and_then(|table| table.latest_stream_arn)
            }
        };
        let arn = arn.ok_or_else(|| format!("no stream of the table {table}"))?;
        Ok(Self { client, arn, source, fault_seed: None })
    }

    /// The same stream, delivered as badly as Lambda may deliver it. Some batches come twice, and the first invocation of
    /// some is killed half way. Equal seeds choose equal faults.
    #[must_use]
    pub fn unreliable(self, seed: u64) -> Self {
        Self { fault_seed: Some(seed), ..self }
    }

    /// Reads the stream from its present end on.
    ///
    /// # Errors
    /// One line, when the stream cannot be read.
    pub async fn follow(&self) -> Result<StreamReader, String> {
        StreamReader::at_end(self.client.clone(), self.arn.clone(), self.source.patterns.clone()).await
    }

    /// The mapping from the stream to its function.
    pub(crate) fn source(&self) -> &StreamSource {
        &self.source
    }

    /// The seed of the faults of an unreliable stream.
    pub(crate) fn fault_seed(&self) -> Option<u64> {
        self.fault_seed
    }
}
