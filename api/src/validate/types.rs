//! Parses the types of columns and of fields of user-defined types, and judges what depends on where a type stands.

use millrace_terms::{ColumnSettings, ColumnType, TypeSettings, fields_of};

use super::Parse;
use crate::crd;
use crate::pipeline::Table;

impl Parse {
    /// Returns the user-defined types. One may use only those before it, which is the order that they are created in.
    pub(super) fn types(&mut self, written: &[crd::UserType]) -> Vec<TypeSettings> {
        let mut types = Vec::new();
        for (index, declared) in written.iter().enumerate() {
            let fields = declared.fields.iter().enumerate().map(|(place, field)| {
                let path = format!("spec.cassandra.types[{index}].fields[{place}].type");
                let field_type = self.column_type(&path, &field.field_type, &types, "before this one in");
                if let ColumnType::UserDefined(name) = &field_type {
                    self.reject(path, format!("a type inside another must be frozen; write frozen<{name}>"));
                }
                ColumnSettings { name: field.name.clone(), column_type: field_type }
            });
            let fields = fields.collect();
            types.push(TypeSettings { name: declared.name.clone(), fields });
        }
        types
    }

    /// Returns a table.
    pub(super) fn table(&mut self, index: usize, written: &crd::Table, types: &[TypeSettings]) -> Table {
        let crd::Table { name, columns, primary_key, ttl_seconds } = written;
        let columns = columns.iter().enumerate().map(|(place, column)| {
            let path = format!("spec.cassandra.tables[{index}].columns[{place}].type");
            let column_type = self.column_type(&path, &column.column_type, types, "in");
            let is_key = primary_key.partition.contains(&column.name) || primary_key.clustering.contains(&column.name);
            let fault = unfit_column(&column_type, types)
                .or_else(|| if is_key { unfit_key(&column.name, &column_type, types) } else { None });
            if let Some(fault) = fault {
                self.reject(path, fault);
            }
            ColumnSettings { name: column.name.clone(), column_type }
        });
        Table {
            columns: columns.collect(),
            name: name.clone(),
            partition_key: primary_key.partition.clone(),
            clustering_key: primary_key.clustering.clone(),
            ttl_seconds: ttl_seconds.unsigned_abs(),
        }
    }

    fn column_type(&mut self, path: &str, text: &str, types: &[TypeSettings], place: &str) -> ColumnType {
        let column_type = self.parse(path, text, ColumnType::Text);
        let is_declared = |name: &str| types.iter().any(|declared| declared.name == name);
        if let Some(name) = column_type.user_types().into_iter().find(|name| !is_declared(name)) {
            let fault = format!(
                "'{name}' is not a CQL type and is not declared {place} spec.cassandra.types; declare it there or \
                 correct the name"
            );
            self.reject(path, fault);
            return ColumnType::Text;
        }
        column_type
    }
}

/// Says why a table cannot have a column of this type.
fn unfit_column(column_type: &ColumnType, types: &[TypeSettings]) -> Option<String> {
    match column_type {
        // Each write names the cells of the elements anew, and those of an earlier write with the same timestamp stay.
        ColumnType::List(_) => Some(format!(
            "a list that is not frozen cannot be written idempotently: a record that is delivered twice would \
             duplicate its elements; write frozen<{column_type}>"
        )),
        ColumnType::UserDefined(name) => {
            let collection = fields_of(types, name).iter().find(|field| field.column_type.has_cells())?;
            Some(format!(
                "type '{name}' has a field that is a collection, '{}', so a column of it must be frozen; write \
                 frozen<{name}>",
                collection.name
            ))
        }
        _ => None,
    }
}

/// Says why a column of this type cannot be part of the primary key.
fn unfit_key(name: &str, column_type: &ColumnType, types: &[TypeSettings]) -> Option<String> {
    if column_type.has_cells() {
        return Some(format!(
            "primary-key column '{name}' must be a single value; write frozen<{column_type}> or use another column"
        ));
    }
    let has_duration = has_duration(column_type, types);
    has_duration.then(|| format!("primary-key column '{name}' has a duration, which has no order; use another type"))
}

fn has_duration(column_type: &ColumnType, types: &[TypeSettings]) -> bool {
    let in_type = |name: &str| fields_of(types, name).iter().any(|field| has_duration(&field.column_type, types));
    column_type.has_duration() || column_type.user_types().into_iter().any(in_type)
}

#[cfg(test)]
mod tests {
    use crate::crd::{Column, PrimaryKey, Table, TypeField, UserType};

    use super::*;

    fn user_type(name: &str, fields: &[(&str, &str)]) -> UserType {
        let field = |(name, field_type): &(&str, &str)| TypeField {
            name: (*name).to_owned(),
            field_type: (*field_type).to_owned(),
        };
        UserType { name: name.to_owned(), fields: fields.iter().map(field).collect() }
    }

    /// Returns what is said of a table with a column `id` of a type, its key, and another of another type.
    fn said(types: &[UserType], key: &str, other: &str) -> Vec<String> {
        let column =
            |name: &str, column_type: &str| Column { name: name.to_owned(), column_type: column_type.to_owned() };
        let table = Table {
            name: "people".to_owned(),
            columns: vec![column("id", key), column("other", other)],
            primary_key: PrimaryKey { partition: vec!["id".to_owned()], clustering: Vec::new() },
            ttl_seconds: 0,
        };
        let mut parse = Parse::default();
        let types = parse.types(types);
        parse.table(0, &table, &types);
        parse.rejected.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn types_of_every_kind_are_accepted() {
        let types = [
            user_type("phone", &[("number", "varchar"), ("tags", "list<text>")]),
            user_type("address", &[("city", "text"), ("phones", "frozen<list<phone>>")]),
        ];
        for column_type in [
            "decimal",
            "frozen<list<int>>",
            "set<text>",
            "map<text, frozen<address>>",
            "tuple<int, address>",
            "vector<float, 3>",
            "address",
            "frozen<phone>",
        ] {
            assert_eq!(said(&types, "uuid", column_type), [""; 0], "{column_type}");
        }
        for key in ["frozen<set<int>>", "tuple<int, text>", "frozen<address>", "blob", "decimal"] {
            assert_eq!(said(&types, key, "int"), [""; 0], "{key}");
        }
    }

    #[test]
    fn types_that_cannot_stand_where_they_do_are_refused_with_their_path() {
        let phone = || user_type("phone", &[("number", "text"), ("tags", "list<text>"), ("held", "duration")]);
        let column = "spec.cassandra.tables[0].columns[1].type";
        let key = "spec.cassandra.tables[0].columns[0].type";
        for (column_type, fault) in [
            ("set<int", "'set<int' is not a CQL type: ',' or '>' is expected at character 8"),
            (
                "addres",
                "'addres' is not a CQL type and is not declared in spec.cassandra.types; declare it there or correct \
                 the name",
            ),
            (
                "list<int>",
                "a list that is not frozen cannot be written idempotently: a record that is delivered twice would \
                 duplicate its elements; write frozen<list<int>>",
            ),
            (
                "phone",
                "type 'phone' has a field that is a collection, 'tags', so a column of it must be frozen; write \
                 frozen<phone>",
            ),
        ] {
            assert_eq!(said(&[phone()], "uuid", column_type), [format!("{column}: {fault}")]);
        }
        for (key_type, fault) in [
            (
                "set<int>",
                "primary-key column 'id' must be a single value; write frozen<set<int>> or use another column",
            ),
            ("duration", "primary-key column 'id' has a duration, which has no order; use another type"),
            ("tuple<phone>", "primary-key column 'id' has a duration, which has no order; use another type"),
        ] {
            assert_eq!(said(&[phone()], key_type, "int"), [format!("{key}: {fault}")]);
        }
        let address = |field_type: &str| user_type("address", &[("phone", field_type)]);
        let field = "spec.cassandra.types[0].fields[0].type";
        assert_eq!(
            said(&[address("frozen<phone>"), phone()], "uuid", "int"),
            [format!(
                "{field}: 'phone' is not a CQL type and is not declared before this one in spec.cassandra.types; \
                 declare it there or correct the name"
            )]
        );
        assert_eq!(
            said(&[phone(), address("phone")], "uuid", "int"),
            ["spec.cassandra.types[1].fields[0].type: a type inside another must be frozen; write frozen<phone>"]
        );
    }
}
