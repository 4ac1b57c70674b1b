//! Changes to keyspace, types and tables: creates and extends them. Each is one statement and can be repeated. Values
//! never come from records, identifiers are those that admission has bounded.

use std::net::SocketAddr;

use millrace_api::pipeline::{Cassandra, Table};
use millrace_terms::{ColumnSettings, TypeSettings};
use snafu::{OptionExt, ResultExt};

use super::{AskCassandra, ExecuteSnafu, FindAddressSnafu, open_for, quoted};
use crate::budget::Kind;

/// A change to the schema.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Create the keyspace.
    CreateKeyspace,
    /// Create a user-defined type.
    CreateType(TypeSettings),
    /// Add a field to a user-defined type.
    AddField {
        /// Type.
        type_name: String,
        /// Field.
        field: ColumnSettings,
    },
    /// Create a table.
    CreateTable(Table),
    /// Add a column to a table.
    AddColumn {
        /// Table.
        table: String,
        /// Column.
        column: ColumnSettings,
    },
    /// Set the life of a table's rows.
    SetTtl {
        /// Table.
        table: String,
        /// Seconds; 0 is never.
        ttl_seconds: u32,
    },
}

impl Change {
    /// Returns the change in words, such as `create the keyspace`.
    pub fn describe(&self) -> String {
        match self {
            Self::CreateKeyspace => "create the keyspace".to_owned(),
            Self::CreateType(declared) => format!("create type '{}'", declared.name),
            Self::AddField { type_name, field } => format!("add field '{}' to type '{type_name}'", field.name),
            Self::CreateTable(table) => format!("create table '{}'", table.name),
            Self::AddColumn { table, column } => format!("add column '{}' to table '{table}'", column.name),
            Self::SetTtl { table, ttl_seconds } => {
                format!("set the time to live of table '{table}' to {ttl_seconds} s")
            }
        }
    }

    fn statement(&self, cassandra: &Cassandra) -> String {
        let keyspace = &cassandra.keyspace;
        match self {
            Self::CreateKeyspace => create_keyspace(cassandra),
            Self::CreateType(declared) => create_type(keyspace, declared),
            Self::AddField { type_name, field } => add_field(keyspace, type_name, field),
            Self::CreateTable(table) => create_table(keyspace, table),
            Self::AddColumn { table, column } => add_column(keyspace, table, column),
            Self::SetTtl { table, ttl_seconds } => set_ttl(keyspace, table, *ttl_seconds),
        }
    }
}

/// Makes a change by one node, and awaits schema agreement.
pub async fn change(node: Option<SocketAddr>, cassandra: &Cassandra, change: &Change) -> Result<(), AskCassandra> {
    let node = node.context(FindAddressSnafu)?;
    let session = open_for(Kind::Facts, node, node.ip()).await?;
    let statement = change.statement(cassandra);
    session
        .query_unpaged(statement.as_str(), ())
        .await
        .map_err(Box::new)
        .with_context(|_| ExecuteSnafu { statement: statement.clone() })?;
    Ok(())
}

/// Returns the statement that creates the keyspace.
fn create_keyspace(cassandra: &Cassandra) -> String {
    format!(
        "CREATE KEYSPACE IF NOT EXISTS {} WITH replication = \
         {{'class': 'NetworkTopologyStrategy', '{}': {}}} AND durable_writes = true",
        quoted(&cassandra.keyspace),
        cassandra.datacenter,
        cassandra.replication_factor.of_new()
    )
}

/// Returns the statement that creates a user-defined type.
fn create_type(keyspace: &str, declared: &TypeSettings) -> String {
    let fields = declared.fields.iter().map(column).collect::<Vec<_>>().join(", ");
    format!("CREATE TYPE IF NOT EXISTS {}.{} ({fields})", quoted(keyspace), quoted(&declared.name))
}

/// Returns the statement that adds a field at the end of a user-defined type.
fn add_field(keyspace: &str, type_name: &str, added: &ColumnSettings) -> String {
    format!("ALTER TYPE {}.{} ADD IF NOT EXISTS {}", quoted(keyspace), quoted(type_name), column(added))
}

/// Returns the statement that creates a table.
fn create_table(keyspace: &str, table: &Table) -> String {
    let columns = table.columns.iter().map(column).collect::<Vec<_>>().join(", ");
    let list = |names: &[String]| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    let clustering = match table.clustering_key.as_slice() {
        [] => String::new(),
        names => format!(", {}", list(names)),
    };
    format!(
        "CREATE TABLE IF NOT EXISTS {}.{} ({columns}, PRIMARY KEY (({}){clustering})) WITH default_time_to_live = {}",
        quoted(keyspace),
        quoted(&table.name),
        list(&table.partition_key),
        table.ttl_seconds
    )
}

/// Returns the statement that adds a column.
fn add_column(keyspace: &str, table: &str, added: &ColumnSettings) -> String {
    format!("ALTER TABLE {}.{} ADD IF NOT EXISTS {}", quoted(keyspace), quoted(table), column(added))
}

/// Returns the statement that sets the life of rows written from now on.
fn set_ttl(keyspace: &str, table: &str, ttl_seconds: u32) -> String {
    format!("ALTER TABLE {}.{} WITH default_time_to_live = {ttl_seconds}", quoted(keyspace), quoted(table))
}

fn column(column: &ColumnSettings) -> String {
    format!("{} {}", quoted(&column.name), column.column_type.cql())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, text: &str) -> ColumnSettings {
        ColumnSettings { name: name.to_owned(), column_type: text.parse().expect("a type") }
    }

    #[test]
    fn statements_quote_names_and_write_frozen_wherever_it_holds() {
        let fields = vec![column("street", "text"), column("phones", "frozen<list<phone>>")];
        let declared = TypeSettings { name: "address".to_owned(), fields };
        assert_eq!(
            create_type("streams", &declared),
            "CREATE TYPE IF NOT EXISTS \"streams\".\"address\" \
             (\"street\" text, \"phones\" frozen<list<frozen<\"phone\">>>)"
        );
        assert_eq!(
            add_field("streams", "address", &column("order", "varint")),
            "ALTER TYPE \"streams\".\"address\" ADD IF NOT EXISTS \"order\" varint"
        );
        let table = Table {
            name: "people".to_owned(),
            columns: vec![column("id", "frozen<tuple<int>>"), column("homes", "map<text,frozen<address>>")],
            partition_key: vec!["id".to_owned()],
            clustering_key: Vec::new(),
            ttl_seconds: 0,
        };
        assert_eq!(
            create_table("streams", &table),
            "CREATE TABLE IF NOT EXISTS \"streams\".\"people\" (\"id\" tuple<int>, \
             \"homes\" map<text, frozen<\"address\">>, PRIMARY KEY ((\"id\"))) WITH default_time_to_live = 0"
        );
    }
}
