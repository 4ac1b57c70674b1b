//! One node that has joined, alone in its ring, with the pipeline's keyspace and tables: version 4 of the native protocol
//! (<https://github.com/apache/cassandra/blob/cassandra-5.0/doc/native_protocol_v4.spec>).
//!
//! It knows tables by name and columns by name, and not what a condition says: each has the rows that are asked for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use bytes::{Buf, BufMut, BytesMut};
use millrace_api::Pipeline;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use uuid::Uuid;

/// First byte of an answer.
const VERSION: u8 = 0x84;

/// Requests and answers.
const STARTUP: u8 = 0x01;
const READY: u8 = 0x02;
const OPTIONS: u8 = 0x05;
const SUPPORTED: u8 = 0x06;
const QUERY: u8 = 0x07;
const RESULT: u8 = 0x08;
const PREPARE: u8 = 0x09;
const EXECUTE: u8 = 0x0A;
const REGISTER: u8 = 0x0B;

/// Kinds of results.
const ROWS: i32 = 2;
const PREPARED: i32 = 4;

/// The flag that all columns are of one table.
const ONE_TABLE: i32 = 1;

/// Types of columns.
const BIGINT: u16 = 0x02;
const INT: u16 = 0x09;
const UUID: u16 = 0x0C;
const TEXT: u16 = 0x0D;
const INET: u16 = 0x10;
const LIST: u16 = 0x20;
const MAP: u16 = 0x21;
const SET: u16 = 0x22;

/// Columns by name; one that is missing is null.
type Row = BTreeMap<&'static str, Cell>;

enum Cell {
    Text(String),
    Int(i32),
    Bigint(i64),
    Id(Uuid),
    Address(IpAddr),
    /// Of a list or a set.
    Texts(Vec<String>),
    Pairs(Vec<(String, String)>),
}

/// Answers one connection until the other side ends it.
pub(super) async fn answer(stream: &mut TcpStream, called: IpAddr, pipeline: &Pipeline) -> Result<()> {
    while let Some([_, _, high, low, request, a, b, c, d]) = super::head::<9>(stream).await? {
        let body = super::body(stream, u32::from_be_bytes([a, b, c, d])).await?;
        let (opcode, answer) = respond(request, &body, called, pipeline)?;
        let mut frame = BytesMut::new();
        frame.put_slice(&[VERSION, 0, high, low, opcode]);
        frame.put_u32(u32::try_from(answer.len())?);
        frame.put_slice(&answer);
        stream.write_all(&frame).await?;
    }
    Ok(())
}

fn respond(request: u8, mut body: &[u8], called: IpAddr, pipeline: &Pipeline) -> Result<(u8, BytesMut)> {
    let mut answer = BytesMut::new();
    match request {
        STARTUP | REGISTER => Ok((READY, answer)),
        OPTIONS => {
            answer.put_u16(1);
            put_text(&mut answer, "CQL_VERSION");
            answer.put_u16(1);
            put_text(&mut answer, "3.4.7");
            Ok((SUPPORTED, answer))
        }
        QUERY => {
            let length = body.try_get_u32()?;
            Ok((RESULT, rows(&text(body, length)?, called, pipeline)?))
        }
        PREPARE => {
            let length = body.try_get_u32()?;
            Ok((RESULT, prepared(&text(body, length)?)?))
        }
        // What was prepared is known by its text.
        EXECUTE => {
            let length = body.try_get_u16()?;
            Ok((RESULT, rows(&text(body, length.into())?, called, pipeline)?))
        }
        other => bail!("Cassandra is sent a request {other:#04x}, which is not played"),
    }
}

fn text(body: &[u8], length: u32) -> Result<String> {
    let bytes = body.get(..usize::try_from(length)?).context("a request is cut off")?;
    Ok(String::from_utf8(bytes.to_vec())?)
}

/// Returns the table and the columns that a statement asks for.
fn parse(statement: &str) -> Result<(&str, Vec<&str>)> {
    let read = || {
        let (columns, rest) = statement.strip_prefix("SELECT ")?.split_once(" FROM ")?;
        Some((rest.split_whitespace().next()?, columns.split(',').map(str::trim).collect()))
    };
    read().with_context(|| format!("Cassandra is asked '{statement}', which is not played"))
}

fn prepared(statement: &str) -> Result<BytesMut> {
    let (table, columns) = parse(statement)?;
    let mut answer = BytesMut::new();
    answer.put_i32(PREPARED);
    put_text(&mut answer, statement);
    // Whatever is bound is a keyspace's name. No column is said to be of the partition key: there is but one node.
    let bound = vec!["keyspace_name"; statement.matches('?').count()];
    answer.put_i32(ONE_TABLE);
    answer.put_i32(i32::try_from(bound.len())?);
    answer.put_i32(0);
    put_columns(&mut answer, table, &bound)?;
    answer.put_i32(ONE_TABLE);
    answer.put_i32(i32::try_from(columns.len())?);
    put_columns(&mut answer, table, &columns)?;
    Ok(answer)
}

fn rows(statement: &str, called: IpAddr, pipeline: &Pipeline) -> Result<BytesMut> {
    let (table, columns) = parse(statement)?;
    // Cassandra's own scheduler of repairs has no tables here.
    let found = match statement.contains("'auto_repair_history'") {
        true => Vec::new(),
        false => rows_of(table, called, pipeline)?,
    };
    let mut answer = BytesMut::new();
    answer.put_i32(ROWS);
    answer.put_i32(ONE_TABLE);
    answer.put_i32(i32::try_from(columns.len())?);
    put_columns(&mut answer, table, &columns)?;
    answer.put_i32(i32::try_from(found.len())?);
    for row in &found {
        for column in &columns {
            match row.get(*column) {
                Some(cell) => put_bytes(&mut answer, &bytes_of(cell))?,
                None => answer.put_i32(-1),
            }
        }
    }
    Ok(answer)
}

fn rows_of(table: &str, called: IpAddr, pipeline: &Pipeline) -> Result<Vec<Row>> {
    let cassandra = &pipeline.cassandra;
    let text = |text: &str| Cell::Text(text.to_owned());
    Ok(match table {
        "system.local" => vec![Row::from([
            ("host_id", Cell::Id(id_of(called))),
            ("rpc_address", Cell::Address(called)),
            ("data_center", text(&cassandra.datacenter)),
            ("rack", text(&cassandra.racks[0].name)),
            ("tokens", Cell::Texts(vec!["0".to_owned()])),
            ("cluster_name", text("played")),
            ("bootstrapped", text("COMPLETED")),
            ("schema_version", Cell::Id(Uuid::from_u128(1))),
            ("release_version", text(&cassandra.version)),
        ])],
        "system.peers" | "system.peers_v2" => Vec::new(),
        "system_views.gossip_info" => {
            vec![Row::from([("address", Cell::Address(called)), ("status_with_port", text("NORMAL,0"))])]
        }
        "system_views.disk_usage" => vec![Row::from([("mebibytes", Cell::Bigint(100))])],
        "system_schema.keyspaces" => {
            let copies = cassandra.replication_factor.of_new().to_string();
            let class = "org.apache.cassandra.locator.NetworkTopologyStrategy".to_owned();
            let replication = vec![("class".to_owned(), class), (cassandra.datacenter.clone(), copies)];
            vec![Row::from([("keyspace_name", text(&cassandra.keyspace)), ("replication", Cell::Pairs(replication))])]
        }
        "system_schema.tables" => tables(pipeline),
        "system_schema.columns" => columns(pipeline),
        "system_schema.types" => types(pipeline),
        other => bail!("Cassandra is asked for table '{other}', which is not played"),
    })
}

fn tables(pipeline: &Pipeline) -> Vec<Row> {
    let tables = pipeline.cassandra.tables.iter().zip(1_000..).map(|(table, id)| {
        Row::from([
            ("table_name", Cell::Text(table.name.clone())),
            ("id", Cell::Id(Uuid::from_u128(id))),
            ("default_time_to_live", Cell::Int(table.ttl_seconds.cast_signed())),
            ("gc_grace_seconds", Cell::Int(864_000)),
        ])
    });
    tables.collect()
}

fn columns(pipeline: &Pipeline) -> Vec<Row> {
    let mut rows = Vec::new();
    for table in &pipeline.cassandra.tables {
        let place = |key: &[String], name: &String| key.iter().zip(0..).find(|(of, _)| *of == name).map(|(_, at)| at);
        for column in &table.columns {
            let (kind, position) =
                match (place(&table.partition_key, &column.name), place(&table.clustering_key, &column.name)) {
                    (Some(at), _) => ("partition_key", at),
                    (None, Some(at)) => ("clustering", at),
                    (None, None) => ("regular", -1),
                };
            rows.push(Row::from([
                ("table_name", Cell::Text(table.name.clone())),
                ("column_name", Cell::Text(column.name.clone())),
                ("type", Cell::Text(column.column_type.to_string())),
                ("kind", Cell::Text(kind.to_owned())),
                ("position", Cell::Int(position)),
            ]));
        }
    }
    rows
}

fn types(pipeline: &Pipeline) -> Vec<Row> {
    let types = pipeline.cassandra.types.iter().map(|declared| {
        let fields = &declared.fields;
        Row::from([
            ("type_name", Cell::Text(declared.name.clone())),
            ("field_names", Cell::Texts(fields.iter().map(|field| field.name.clone()).collect())),
            ("field_types", Cell::Texts(fields.iter().map(|field| field.column_type.to_string()).collect())),
        ])
    });
    types.collect()
}

/// Returns a node's identity, which its address tells here.
fn id_of(called: IpAddr) -> Uuid {
    match called {
        IpAddr::V4(address) => Uuid::from_u128(address.to_bits().into()),
        IpAddr::V6(address) => Uuid::from_u128(address.to_bits()),
    }
}

/// Returns a column's type, and what it is made of.
fn type_of(column: &str) -> &'static [u16] {
    match column {
        "host_id" | "id" | "schema_version" => &[UUID],
        "address" | "rpc_address" => &[INET],
        "mebibytes" => &[BIGINT],
        "default_time_to_live" | "gc_grace_seconds" | "position" => &[INT],
        "tokens" => &[SET, TEXT],
        "field_names" | "field_types" => &[LIST, TEXT],
        "replication" => &[MAP, TEXT, TEXT],
        _ => &[TEXT],
    }
}

fn put_columns(answer: &mut BytesMut, table: &str, columns: &[&str]) -> Result<()> {
    let (keyspace, table) = table.split_once('.').context("a table is named with its keyspace")?;
    put_text(answer, keyspace);
    put_text(answer, table);
    for column in columns {
        put_text(answer, column);
        type_of(column).iter().for_each(|part| answer.put_u16(*part));
    }
    Ok(())
}

/// Writes a text with its length; none here is longer than 65,535 bytes.
fn put_text(answer: &mut BytesMut, text: &str) {
    answer.put_u16(text.len() as u16);
    answer.put_slice(text.as_bytes());
}

fn put_bytes(answer: &mut BytesMut, bytes: &[u8]) -> Result<()> {
    answer.put_i32(i32::try_from(bytes.len())?);
    answer.put_slice(bytes);
    Ok(())
}

fn bytes_of(cell: &Cell) -> Vec<u8> {
    match cell {
        Cell::Text(text) => text.clone().into_bytes(),
        Cell::Int(number) => number.to_be_bytes().to_vec(),
        Cell::Bigint(number) => number.to_be_bytes().to_vec(),
        Cell::Id(id) => id.as_bytes().to_vec(),
        Cell::Address(IpAddr::V4(address)) => address.octets().to_vec(),
        Cell::Address(IpAddr::V6(address)) => address.octets().to_vec(),
        Cell::Texts(texts) => collection(texts.len(), texts.iter()),
        Cell::Pairs(pairs) => collection(pairs.len(), pairs.iter().flat_map(|(key, value)| [key, value])),
    }
}

/// Returns so many entries, each of one text or of a key and its value.
fn collection<'a>(entries: usize, texts: impl Iterator<Item = &'a String>) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_i32(entries as i32);
    for text in texts {
        bytes.put_i32(text.len() as i32);
        bytes.put_slice(text.as_bytes());
    }
    bytes
}
