//! A query compiled: what to read of a record, what to compute, and which column gets what.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::DFSchema;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::Expr;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_physical_expr::expressions::BinaryExpr;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use millrace_terms::{ColumnSettings, ColumnType, Position, Problem, SqlQuestion, SqlSettings, TableSettings};
use sqlparser::ast::{self, Ident, SelectItem, Spanned, UnaryOperator};

use crate::expression::{Inputs, Term, Translate, plain};
use crate::extract::Extractor;
use crate::position::{Result, position_of};
use crate::scope::{Field, Level, Read, Scope};
use crate::statement::{self, Parts};
use crate::types::{self, Class};
use crate::value::Value;

/// Stack for compiling: the parser's tree of a long sum is deep, and DataFusion's frames are large.
const STACK: usize = 32 << 20;

/// Longest SQL, in bytes; the resource's own bound.
pub const LONGEST_SQL: usize = 8192;

/// A compiled query.
#[derive(Debug)]
pub struct Plan {
    pub(crate) record: Extractor,
    pub(crate) unnest: Option<Unnest>,
    /// One for each column of the table.
    pub(crate) outputs: Vec<Output>,
    /// The names of the table's columns, for messages.
    pub(crate) columns: Vec<String>,
    pub(crate) filter: Option<Stage>,
    pub(crate) computed: Option<Stage>,
}

/// The array whose elements become rows.
#[derive(Debug)]
pub(crate) struct Unnest {
    pub(crate) slot: usize,
    pub(crate) name: String,
    pub(crate) element: Extractor,
}

/// Where a column's value comes from.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    /// Nowhere: the query does not fill it.
    Absent,
    /// From the document, as it stands there or as text.
    Place { place: Place, as_text: bool },
    /// From the element's position in its array.
    Ordinal,
    /// From the SQL itself.
    Constant(Value<'static>),
    /// From an expression of the computing stage; an exact number comes as its text.
    Computed { index: usize, exact: bool },
}

/// A slot of one of the two documents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) level: Level,
    pub(crate) slot: usize,
}

/// Expressions over a batch of rows, and what they read.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) schema: SchemaRef,
    pub(crate) inputs: Vec<Input>,
    /// With the position of the table's column; there is one without, the condition.
    pub(crate) expressions: Vec<(Option<usize>, Arc<dyn PhysicalExpr>)>,
}

/// A column of a stage's batches.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) place: Place,
    pub(crate) read: Read,
    pub(crate) name: String,
}

/// Judges a query's SQL: compiles it and returns what is wrong with it. Nothing: it can run.
pub fn judge(question: SqlQuestion) -> Vec<Problem> {
    let SqlQuestion { sql, from, into } = question;
    compile(&sql, &from, &into).err().unwrap_or_default()
}

/// Compiles the SQL of a query that reads `stream` and writes `table`; or says all that is wrong with it.
pub fn compile(settings: &SqlSettings, stream: &str, table: &TableSettings) -> std::result::Result<Plan, Vec<Problem>> {
    if settings.text.len() > LONGEST_SQL {
        let message = format!("the SQL has {} bytes, more than {LONGEST_SQL}", settings.text.len());
        return Err(vec![Problem::new(Position { line: 1, column: 1 }, message)]);
    }
    let compiled = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("sql".to_owned()).stack_size(STACK);
        thread.spawn_scoped(scope, || compile_here(settings, stream, table)).map(|running| running.join())
    });
    match compiled {
        Ok(Ok(plan)) => plan,
        // A panic is a bug of ours or of a library, and still no reason to take the caller down.
        Ok(Err(_)) | Err(_) => {
            Err(vec![Problem::new(Position { line: 1, column: 1 }, "the SQL could not be compiled; this is a bug")])
        }
    }
}

fn compile_here(
    settings: &SqlSettings,
    stream: &str,
    table: &TableSettings,
) -> std::result::Result<Plan, Vec<Problem>> {
    let parts = statement::parse(&settings.text).map_err(|problem| vec![problem])?;
    let scope = Scope::new(&parts, stream, &settings.columns).map_err(|problem| vec![problem])?;
    let mut compile = Compile::new(&scope, table);
    compile.unnest(&parts);
    compile.items(&parts.items);
    compile.condition(parts.condition.as_ref());
    compile.finish()
}

struct Compile<'a> {
    scope: &'a Scope<'a>,
    table: &'a TableSettings,
    problems: Vec<Problem>,
    record: Extractor,
    element: Extractor,
    unnest: Option<(usize, String)>,
    outputs: Vec<Output>,
    /// What the computing stage reads, and its expressions with their columns.
    inputs: Inputs,
    expressions: Vec<(Option<usize>, Expr)>,
    filter: Option<Stage>,
}

impl<'a> Compile<'a> {
    fn new(scope: &'a Scope<'a>, table: &'a TableSettings) -> Self {
        Self {
            scope,
            table,
            problems: Vec::new(),
            record: Extractor::default(),
            element: Extractor::default(),
            unnest: None,
            outputs: vec![Output::Absent; table.columns.len()],
            inputs: Inputs::default(),
            expressions: Vec::new(),
            filter: None,
        }
    }

    fn unnest(&mut self, parts: &Parts) {
        let Some(unnest) = &parts.unnest else {
            return;
        };
        let position = position_of(unnest.array.span(), START);
        let mut unused = Inputs::default();
        match Translate::new(self.scope, &mut unused, position).term(&unnest.array) {
            Ok(Term::Field(Field { level: Level::Record, path, read: Read::Json, name, .. })) => {
                self.unnest = Some((self.record.slot(&path), name));
            }
            Ok(_) => self.problems.push(Problem::new(position, "UNNEST takes a json column or a path of one with ->")),
            Err(problem) => self.problems.push(problem),
        }
    }

    fn items(&mut self, items: &[SelectItem]) {
        for item in items {
            let position = position_of(item.span(), START);
            let done = match item {
                SelectItem::ExprWithAlias { expr, alias } => self.item(position, expr, Some(alias)),
                SelectItem::UnnamedExpr(expr) => self.item(position, expr, None),
                SelectItem::Wildcard(options) => {
                    let plain = *options == ast::WildcardAdditionalOptions::default();
                    match plain {
                        true => self.everything(position),
                        false => Err(Problem::new(position, "* stands alone; name the columns otherwise")),
                    }
                }
                SelectItem::QualifiedWildcard(..) | SelectItem::ExprWithAliases { .. } => {
                    Err(Problem::new(position, "name the columns, or write * alone"))
                }
            };
            self.problems.extend(done.err());
        }
        for key in &self.table.primary_key {
            let filled = self.column(key).is_some_and(|index| !matches!(self.outputs[index], Output::Absent));
            // What else is wrong may be the very expression that was to fill it.
            if !filled && self.problems.is_empty() {
                let message =
                    format!("gets no value, but is part of the primary key of table '{}'; select it", self.table.name);
                self.problems.push(Problem::new(START, message).of_column(key));
            }
        }
    }

    fn everything(&mut self, position: Position) -> Result<()> {
        for field in self.scope.columns() {
            let name = field.name.clone();
            let index = self.claim(position, &name)?;
            self.outputs[index] = self.place(position, index, field).map_err(|problem| problem.of_column(&name))?;
        }
        Ok(())
    }

    fn item(&mut self, position: Position, expr: &ast::Expr, alias: Option<&Ident>) -> Result<()> {
        let name = match (alias, expr) {
            (Some(alias), _) => alias,
            (None, ast::Expr::Identifier(name)) => name,
            (None, ast::Expr::CompoundIdentifier(names)) if !names.is_empty() => &names[names.len() - 1],
            (None, ast::Expr::Function(call))
                if call.over.is_some() || crate::functions::function(&call.name.to_string()).is_err() =>
            {
                // Says first what is wrong with the function: a name would not help it.
                let mut unused = Inputs::default();
                Translate::new(self.scope, &mut unused, position).value(expr)?;
                return Err(Problem::new(position, NAME_IT));
            }
            (None, _) => return Err(Problem::new(position, NAME_IT)),
        };
        // Beside the name: an unknown column is reported where it stands, not where it goes.
        let output = self.output(position, expr).map_err(|problem| problem.of_column(&name.value))?;
        let position = position_of(name.span, position);
        let index = self.claim(position, &name.value)?;
        let output = match output {
            // The column would read another range of values than the CAST names.
            Pending::Field(field) if field.is_cast && !types::reads_alike(self.column_type(index), field.read) => {
                let class = types::arrow(field.read).map(|data_type| Class::of(&data_type));
                let expr = Translate::new(self.scope, &mut self.inputs, position).read(field)?;
                self.computed(position, expr, class.unwrap_or(Class::Null))?
            }
            other => other,
        };
        self.outputs[index] = match output {
            Pending::Field(field) => self.place(position, index, field),
            Pending::Constant(value, class) => self.fits(position, index, class).map(|()| Output::Constant(value)),
            Pending::Computed(expr, class) => self.fits(position, index, class).map(|()| {
                self.expressions.push((Some(index), expr));
                Output::Computed { index: self.expressions.len() - 1, exact: class == Class::Decimal }
            }),
        }
        .map_err(|problem| problem.of_column(&name.value))?;
        Ok(())
    }

    fn output(&mut self, position: Position, expr: &ast::Expr) -> Result<Pending> {
        if let Some((value, class)) = constant(expr) {
            return Ok(Pending::Constant(value, class));
        }
        let mut translate = Translate::new(self.scope, &mut self.inputs, position);
        match translate.term(expr)? {
            Term::Field(field) => Ok(Pending::Field(field)),
            Term::Computed(expr) => {
                let class = translate.class(position, &expr)?;
                self.computed(position, expr, class)
            }
        }
    }

    /// Returns an expression in the type in which results of its class are read.
    fn computed(&mut self, position: Position, expr: Expr, class: Class) -> Result<Pending> {
        let Some(result) = class.result_type() else {
            return Err(Problem::new(position, "no column can hold an interval or a list"));
        };
        let translate = Translate::new(self.scope, &mut self.inputs, position);
        Ok(Pending::Computed(translate.cast_to(position, expr, &result)?, class))
    }

    fn column_type(&self, index: usize) -> &ColumnType {
        &self.table.columns[index].column_type
    }

    /// Returns the table's column of a name, which nothing else may fill.
    fn claim(&self, position: Position, name: &str) -> Result<usize> {
        let Some(index) = self.column(name) else {
            return Err(Problem::new(
                position,
                format!("table '{}' has no column '{name}'; write AS and the name of one that it has", self.table.name),
            ));
        };
        match self.outputs[index] {
            Output::Absent => Ok(index),
            _ => Err(Problem::new(position, format!("column '{name}' is filled twice"))),
        }
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.table.columns.iter().position(|column| column.name == name)
    }

    fn place(&mut self, position: Position, index: usize, field: Field) -> Result<Output> {
        let class = match field.read {
            Read::Json => None,
            read => types::arrow(read).map(|data_type| Class::of(&data_type)),
        };
        if let Some(class) = class {
            self.fits(position, index, class)?;
        }
        if field.read == Read::Ordinal {
            return Ok(Output::Ordinal);
        }
        let as_text = field.read == Read::Text;
        Ok(Output::Place { place: place(&mut self.record, &mut self.element, &field), as_text })
    }

    fn fits(&self, position: Position, index: usize, class: Class) -> Result<()> {
        let ColumnSettings { name, column_type } = &self.table.columns[index];
        if class == Class::Null && self.table.primary_key.contains(name) {
            return Err(Problem::new(position, "NULL cannot be part of the primary key"));
        }
        if types::takes(column_type, class) {
            return Ok(());
        }
        let hint = match (column_type, class) {
            (ColumnType::Timestamp, Class::Integer) => "declare the field as timestamp",
            (compound, _) if !compound.parts().is_empty() || matches!(compound, ColumnType::UserDefined(_)) => {
                "only json fills it: declare the field as json, or end the path with ->"
            }
            _ => "CAST it",
        };
        Err(Problem::new(position, format!("is {column_type} in the table, and the value is {}; {hint}", class.name())))
    }

    fn condition(&mut self, condition: Option<&ast::Expr>) {
        let Some(condition) = condition else {
            return;
        };
        let position = position_of(condition.span(), START);
        let mut inputs = Inputs::default();
        match Translate::new(self.scope, &mut inputs, position).condition(condition) {
            Ok(expr) => match self.stage(inputs, vec![(None, expr)]) {
                Ok(stage) => self.filter = Some(stage),
                Err(problem) => self.problems.push(Problem { position, ..problem }),
            },
            Err(problem) => self.problems.push(problem),
        }
    }

    fn stage(&mut self, inputs: Inputs, expressions: Vec<(Option<usize>, Expr)>) -> Result<Stage> {
        let schema = inputs.schema();
        let mut physical = Vec::new();
        for (column, expr) in expressions {
            let expr = self.physical(&schema, &expr).map_err(|problem| match column {
                Some(column) => problem.of_column(&self.table.columns[column].name),
                None => problem,
            })?;
            physical.push((column, expr));
        }
        let inputs = inputs.into_fields().into_iter().map(|field| Input {
            place: place(&mut self.record, &mut self.element, &field),
            read: field.read,
            name: field.name,
        });
        Ok(Stage { schema: Arc::clone(schema.inner()), inputs: inputs.collect(), expressions: physical })
    }

    fn physical(&self, schema: &DFSchema, expr: &Expr) -> Result<Arc<dyn PhysicalExpr>> {
        let expr = create_physical_expr(expr, schema, &ExecutionProps::new())
            .map_err(|error| Problem::new(START, plain(&error)))?;
        // An overflow is the record's fault and must be seen; by default the number would just be another.
        let checked = expr.transform_up(|node| {
            let Some(binary) = (node.as_ref() as &dyn std::any::Any).downcast_ref::<BinaryExpr>() else {
                return Ok(Transformed::no(node));
            };
            let checked: Arc<dyn PhysicalExpr> = Arc::new(binary.clone().with_fail_on_overflow(true));
            Ok(Transformed::yes(checked))
        });
        checked.map(|checked| checked.data).map_err(|error| Problem::new(START, plain(&error)))
    }

    fn finish(mut self) -> std::result::Result<Plan, Vec<Problem>> {
        let computed = if self.expressions.is_empty() {
            None
        } else {
            let inputs = std::mem::take(&mut self.inputs);
            let expressions = std::mem::take(&mut self.expressions);
            match self.stage(inputs, expressions) {
                Ok(stage) => Some(stage),
                Err(problem) => {
                    self.problems.push(problem);
                    None
                }
            }
        };
        if !self.problems.is_empty() {
            self.problems.sort_by_key(|problem| problem.position);
            return Err(self.problems);
        }
        let element = self.element;
        Ok(Plan {
            record: self.record,
            unnest: self.unnest.map(|(slot, name)| Unnest { slot, name, element }),
            outputs: self.outputs,
            columns: self.table.columns.iter().map(|column| column.name.clone()).collect(),
            filter: self.filter,
            computed,
        })
    }
}

const START: Position = Position { line: 1, column: 1 };
const NAME_IT: &str = "this expression needs the name of the column that it fills: AS column";

/// What an item of the SELECT list is, before it is known whether its column takes it.
enum Pending {
    Field(Field),
    Constant(Value<'static>, Class),
    Computed(Expr, Class),
}

/// Returns where a field is found, which is where the extractors put it.
fn place(record: &mut Extractor, element: &mut Extractor, field: &Field) -> Place {
    let slot = match (field.level, field.read) {
        // A position is counted, not read.
        (_, Read::Ordinal) => 0,
        (Level::Record, _) => record.slot(&field.path),
        (Level::Element, _) => element.slot(&field.path),
    };
    Place { level: field.level, slot }
}

/// Returns the value of a literal that stands for itself.
fn constant(expr: &ast::Expr) -> Option<(Value<'static>, Class)> {
    let (value, negative) = match expr {
        ast::Expr::Nested(inner) => return constant(inner),
        ast::Expr::Value(value) => (&value.value, false),
        ast::Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            ast::Expr::Value(value) if matches!(value.value, ast::Value::Number(..)) => (&value.value, true),
            _ => return None,
        },
        _ => return None,
    };
    Some(match value {
        ast::Value::Number(digits, _) => {
            let digits = if negative { format!("-{digits}") } else { digits.clone() };
            match digits.parse() {
                Ok(number) => (Value::Integer(number), Class::Integer),
                Err(_) => (Value::Number(digits), Class::Double),
            }
        }
        ast::Value::SingleQuotedString(text) => (Value::Text(text.clone().into()), Class::Text),
        ast::Value::Boolean(truth) => (Value::Boolean(*truth), Class::Boolean),
        ast::Value::Null => (Value::Null, Class::Null),
        _ => return None,
    })
}
