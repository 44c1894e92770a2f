//! The alternative to compare with: one table in PostgreSQL, with an index for each filter.

use std::fmt::Write as _;
use std::pin::pin;
use std::time::Instant;

use axum::body::Bytes;
use futures_util::SinkExt as _;
use tokio_postgres::{Client, NoTls};

use crate::Result;
use crate::cases::Case;
use crate::data::{Data, WORKSPACE};
use crate::report::Report;
use crate::stats::Times;

/// Rounds that are not counted, because caches fill and plans settle.
const WARM_UP: usize = 10;
/// Rows of one message.
const CHUNK: usize = 1_000;

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS activities (
        id text NOT NULL, workspace_id text NOT NULL, issue_id text, actor_type text NOT NULL,
        actor_id text NOT NULL, action text NOT NULL, details jsonb NOT NULL, created_at timestamptz NOT NULL,
        PRIMARY KEY (workspace_id, id)
    );";
const INDEXES: &str = "
    CREATE INDEX ON activities (workspace_id, created_at DESC, id DESC);
    CREATE INDEX ON activities (workspace_id, issue_id, created_at DESC, id DESC);
    CREATE INDEX ON activities (workspace_id, actor_id, created_at DESC, id DESC);
    CREATE INDEX ON activities (workspace_id, action, created_at DESC, id DESC);";

pub(crate) async fn measure(
    url: &str,
    data: &Data,
    cases: &[Case],
    repetitions: usize,
    report: &mut Report,
) -> Result<Vec<Times>> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    let version: String = client.query_one("SHOW server_version", &[]).await?.get(0);
    report.note("PostgreSQL", version);
    load(&client, data).await?;
    let mut statements = Vec::with_capacity(cases.len());
    for case in cases {
        let mut prepared = Vec::with_capacity(case.sql.len());
        for sql in &case.sql {
            prepared.push(client.prepare(sql).await?);
        }
        statements.push(prepared);
    }
    let mut times: Vec<Times> = cases.iter().map(|_| Times::default()).collect();
    for round in 0..WARM_UP + repetitions {
        for (statements, times) in statements.iter().zip(&mut times) {
            let began = Instant::now();
            for statement in statements {
                client.query(statement, &[]).await?;
            }
            if round >= WARM_UP {
                times.push(began.elapsed());
            }
        }
    }
    Ok(times)
}

/// Loads the rows, unless they are there.
async fn load(client: &Client, data: &Data) -> Result<()> {
    client.batch_execute(TABLE).await?;
    let count: i64 = client.query_one("SELECT count(*) FROM activities", &[]).await?.get(0);
    if usize::try_from(count) == Ok(data.len) {
        return Ok(());
    }
    client.batch_execute("DROP TABLE activities").await?;
    client.batch_execute(TABLE).await?;
    let copy = "COPY activities (id, workspace_id, issue_id, actor_type, actor_id, action, details, created_at) \
                FROM STDIN";
    let mut sink = pin!(client.copy_in::<_, Bytes>(copy).await?);
    for from in (0..data.len).step_by(CHUNK) {
        let mut text = String::new();
        for index in from..data.len.min(from + CHUNK) {
            let row = data.row(index);
            // No value needs escaping.
            writeln!(
                text,
                "{}\t{WORKSPACE}\t{}\t{}\t{}\t{}\t{}\t{}",
                row.id, row.issue, row.actor_type, row.actor, row.action, row.details, row.created_at
            )?;
        }
        sink.send(text.into()).await?;
    }
    sink.finish().await?;
    client.batch_execute(INDEXES).await?;
    client.batch_execute("VACUUM ANALYZE activities").await?;
    Ok(())
}
