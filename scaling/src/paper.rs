//! Scale on paper: what a pipeline of any size needs, from what a record costs as it was measured, and which part of it
//! comes to its limit first.
//!
//! Every figure has a source. What was not measured is named in docs/scaling.md, and is in no figure here.

use std::fmt::Write;

/// A pipeline and the machines that it has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Records a second.
    pub rate: f64,
    /// Partitions of the topics that processors read.
    pub partitions: u32,
    /// Copies of a partition.
    pub partition_copies: u32,
    /// Processors.
    pub processors: u32,
    /// Cores of a processor.
    pub processor_cores: f64,
    /// Memory of a processor, in MiB.
    pub processor_mib: f64,
    /// Brokers.
    pub brokers: u32,
    /// Cores of a broker.
    pub broker_cores: f64,
    /// Cassandra's nodes.
    pub nodes: u32,
    /// Cores of a node.
    pub node_cores: f64,
    /// Copies of a row.
    pub row_copies: u32,
}

/// The plan of docs/scaling.md: 10,000 partitions, 500 processors, a million records a second.
pub const LARGE: Plan = Plan {
    rate: 1_000_000.0,
    partitions: 10_000,
    partition_copies: 3,
    processors: 500,
    processor_cores: 0.25,
    processor_mib: 128.0,
    brokers: 12,
    broker_cores: 4.0,
    nodes: 24,
    node_cores: 8.0,
    row_copies: 3,
};

/// What a record costs, in microseconds of a core, and a processor in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// The processor's.
    pub processor: f64,
    /// Cassandra's, where 32 rows share a request.
    pub row_in_batch: f64,
    /// Cassandra's, where each row has its own.
    pub row_alone: f64,
    /// The broker's, for reading.
    pub broker: f64,
    /// The most that a processor had resident, in MiB.
    pub processor_mib: f64,
}

/// What a plan asks of one of its parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Need {
    /// The part.
    pub part: &'static str,
    /// How much of it is needed.
    pub needed: f64,
    /// How much of it there is.
    pub available: f64,
    /// The unit of both.
    pub unit: &'static str,
    /// How the figure comes about, and where it is from.
    pub source: &'static str,
    /// Whether it grows with the rate; else with partitions or processors.
    pub grows_with_rate: bool,
}

impl Need {
    /// Returns the part of it that is used, 1 at its limit.
    pub fn share(&self) -> f64 {
        self.needed / self.available
    }
}

/// Replicas of partitions that a broker should have at most. Apache Kafka, KIP-578: "The current generic recommendation
/// to have no more than 4000 partitions per broker".
const PARTITIONS_OF_A_BROKER: f64 = 4_000.0;

/// Partitions that a cluster should have at most: the same sentence.
const PARTITIONS_OF_A_CLUSTER: f64 = 200_000.0;

/// Partitions that fit into the largest answer the operator takes from Kafka (`stores/src/budget.rs`).
const PARTITIONS_OF_AN_ANSWER: f64 = 50_000.0;

impl Costs {
    /// Reads the costs from docs/benchmark.md: the rows of our worker and of latte, which writes single rows. `None`:
    /// the page has no such rows.
    pub fn from_benchmark(page: &str) -> Option<Self> {
        let ours = Row::find(page, "**Millrace worker**")?;
        let single = Row::find(page, "latte (ceiling)")?;
        Some(Self {
            processor: ours.number("client µs")?,
            row_in_batch: ours.number("Cassandra µs")?,
            row_alone: single.number("Cassandra µs")?,
            broker: ours.number("broker µs")?,
            processor_mib: ours.number("peak MiB")?,
        })
    }
}

/// A row of the page's first table, and that table's head.
struct Row<'a> {
    head: Vec<&'a str>,
    cells: Vec<&'a str>,
}

impl<'a> Row<'a> {
    fn find(page: &'a str, client: &str) -> Option<Self> {
        let cells = |line: &'a str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
        let mut rows = page.lines().skip_while(|line| !line.starts_with("| client |"));
        let head = cells(rows.next()?);
        let row = rows.take_while(|line| line.starts_with('|')).map(cells).find(|row| row.first() == Some(&client))?;
        Some(Self { head, cells: row })
    }

    fn number(&self, column: &str) -> Option<f64> {
        let place = self.head.iter().position(|head| *head == column)?;
        self.cells.get(place)?.parse().ok()
    }
}

/// Returns what a plan asks of its parts, the one nearest to its limit first.
pub fn needs(plan: &Plan, costs: &Costs) -> Vec<Need> {
    let cores = |micros: f64| plan.rate * micros / 1_000_000.0;
    let of = |count: u32, each: f64| f64::from(count) * each;
    let replicas = of(plan.partitions, f64::from(plan.partition_copies));
    // Rows share a request only with rows of the same replicas: where every node has every row, all do; where there are
    // many nodes, hardly any.
    let (row, row_source) = match plan.nodes <= plan.row_copies {
        true => (costs.row_in_batch, "Cassandra µs of the worker, 32 rows in a request, for each copy (benchmark.md)"),
        false => (costs.row_alone, "Cassandra µs of latte's single rows, for each copy (benchmark.md, decision 7)"),
    };
    let mut needs = vec![
        Need {
            part: "Cassandra, CPU",
            needed: cores(row) * f64::from(plan.row_copies),
            available: of(plan.nodes, plan.node_cores),
            unit: "cores",
            source: row_source,
            grows_with_rate: true,
        },
        Need {
            part: "processors, CPU",
            needed: cores(costs.processor),
            available: of(plan.processors, plan.processor_cores),
            unit: "cores",
            source: "client µs of the worker (benchmark.md)",
            grows_with_rate: true,
        },
        Need {
            part: "brokers, CPU of reading",
            needed: cores(costs.broker),
            available: of(plan.brokers, plan.broker_cores),
            unit: "cores",
            source: "broker µs of the worker (benchmark.md)",
            grows_with_rate: true,
        },
        Need {
            part: "a processor, memory",
            needed: costs.processor_mib,
            available: plan.processor_mib,
            unit: "MiB",
            source: "peak MiB of the worker, at 20 times the rate (benchmark.md)",
            grows_with_rate: false,
        },
        Need {
            part: "processors, partitions to read",
            needed: f64::from(plan.processors),
            available: f64::from(plan.partitions),
            unit: "processors",
            source: "a partition is read by one processor",
            grows_with_rate: false,
        },
        Need {
            part: "a broker, partitions",
            needed: replicas / f64::from(plan.brokers),
            available: PARTITIONS_OF_A_BROKER,
            unit: "copies",
            source: "Kafka's recommendation (KIP-578)",
            grows_with_rate: false,
        },
        Need {
            part: "Kafka, partitions",
            needed: replicas,
            available: PARTITIONS_OF_A_CLUSTER,
            unit: "copies",
            source: "Kafka's recommendation (KIP-578)",
            grows_with_rate: false,
        },
        Need {
            part: "the operator, an answer from Kafka",
            needed: f64::from(plan.partitions),
            available: PARTITIONS_OF_AN_ANSWER,
            unit: "partitions",
            source: "largest answer that it accepts (stores/src/budget.rs)",
            grows_with_rate: false,
        },
    ];
    needs.sort_by(|one, other| other.share().total_cmp(&one.share()));
    needs
}

/// Returns the rate at which the first part comes to its limit, in records a second, and that part.
pub fn first_limit(plan: &Plan, costs: &Costs) -> Option<(f64, Need)> {
    let first = needs(plan, costs).into_iter().find(|need| need.grows_with_rate)?;
    Some((plan.rate / first.share(), first))
}

/// Writes the section of docs/scaling.md as Markdown.
pub fn markdown(plan: &Plan, costs: &Costs) -> String {
    let mut text = String::from("| what | needed | available | used | figure |\n|---|---|---|---|---|\n");
    for need in needs(plan, costs) {
        let Need { part, needed, available, unit, source, .. } = &need;
        let used = need.share() * 100.0;
        writeln!(text, "| {part} | {needed:.1} | {available:.0} {unit} | {used:.0} % | {source} |")
            .expect("a String takes all");
    }
    if let Some((rate, need)) = first_limit(plan, costs) {
        writeln!(
            text,
            "\nThe first limit as the rate grows: **{}**, at {:.1} million records a second.",
            need.part,
            rate / 1_000_000.0
        )
        .expect("a String takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs =
        Costs { processor: 5.0, row_in_batch: 30.0, row_alone: 50.0, broker: 0.5, processor_mib: 64.0 };

    #[test]
    fn a_million_records_a_second_are_150_cores_of_cassandra_with_three_copies() {
        let found = needs(&LARGE, &COSTS);
        assert_eq!((found[0].part, found[0].needed, found[0].available), ("Cassandra, CPU", 150.0, 192.0));
        let (rate, first) = first_limit(&LARGE, &COSTS).expect("there is one");
        assert_eq!((rate, first.part), (1_280_000.0, "Cassandra, CPU"));
        let of = |part: &str| found.iter().find(|need| need.part == part).map(Need::share);
        assert_eq!(of("a broker, partitions"), Some(0.625));
        assert_eq!(of("processors, CPU"), Some(0.04));
        assert_eq!(of("the operator, an answer from Kafka"), Some(0.2));
    }

    #[test]
    fn another_part_is_first_where_that_one_has_enough() {
        let more_nodes = Plan { nodes: 400, ..LARGE };
        assert_eq!(needs(&more_nodes, &COSTS)[0].part, "a broker, partitions");
        let small_processors = Plan { processor_cores: 0.01, ..more_nodes };
        let (rate, first) = first_limit(&small_processors, &COSTS).expect("there is one");
        assert_eq!((rate, first.part), (1_000_000.0, "processors, CPU"));
    }

    #[test]
    fn rows_share_requests_where_every_node_has_every_row() {
        let cassandra = |plan: &Plan| needs(plan, &COSTS).into_iter().find(|need| need.part == "Cassandra, CPU");
        let three = Plan { nodes: 3, ..LARGE };
        assert_eq!(cassandra(&three).map(|need| need.needed), Some(90.0));
    }

    #[test]
    fn costs_are_read_by_the_names_of_row_and_column() {
        let page = "# Page\n\n| client | rows/s | client µs | Cassandra µs | broker µs | peak MiB |\n| --- | --- |\n\
                    | **Millrace worker** | 40,470 (1–2) | 5.3 | 36.5 | 0.4 | 61 |\n\
                    | latte (ceiling) | 29,004 | 9.7 | 48.5 | 0.3 | 38 |\n\n| client | other |\n";
        let costs = Costs { processor: 5.3, row_in_batch: 36.5, row_alone: 48.5, broker: 0.4, processor_mib: 61.0 };
        assert_eq!(Costs::from_benchmark(page), Some(costs));
        assert_eq!(Costs::from_benchmark(&page.replace("latte", "other")), None);
        assert_eq!(Costs::from_benchmark(&page.replace("broker µs", "broker")), None);
    }
}
