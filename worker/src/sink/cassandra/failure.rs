//! What a failed request means: wait, mend the table, or give the row up. Pure.
//!
//! In doubt the row waits: waiting costs time, a wrong dead letter costs a record.

use scylla::errors::{BadQuery, DbError, ExecutionError, PrepareError, RequestAttemptError};

use millrace_terms::causes::chain_of;

/// What to do about a failed write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Write again later.
    Await(String),
    /// Somebody has to mend table or rights.
    Mend(String),
    /// The server calls the request invalid: this row, unless it is the table.
    RefuseOrMend(String),
}

/// Judges a failed write.
pub(super) fn judge(error: &ExecutionError) -> Verdict {
    let problem = chain_of(error);
    match error {
        ExecutionError::BadQuery(BadQuery::ValuesTooLongForKey(..) | BadQuery::PartitionKeyExtraction) => {
            Verdict::RefuseOrMend(problem)
        }
        // Types were checked at preparation, so the table has changed since, or it is a bug: no fault of the row.
        ExecutionError::BadQuery(_) => Verdict::Mend(problem),
        ExecutionError::PrepareError(error) if is_schema(error) => Verdict::Mend(problem),
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, message)) => match error {
            DbError::Invalid if is_guardrail_of_server(message) => Verdict::Mend(problem),
            DbError::Invalid => Verdict::RefuseOrMend(problem),
            error if is_for_people(error) => Verdict::Mend(problem),
            _ => Verdict::Await(problem),
        },
        // The statement has another identity since the table was changed.
        ExecutionError::LastAttemptError(RequestAttemptError::RepreparedIdChanged { .. }) => Verdict::Mend(problem),
        _ => Verdict::Await(problem),
    }
}

/// Returns whether a guardrail stopped a write for what the server or the table holds, such as a full disk, and not
/// for the size of a value. Cassandra calls both an invalid request.
fn is_guardrail_of_server(message: &str) -> bool {
    message.starts_with("Guardrail")
        && !["column_value_size", "collection_size"].iter().any(|name| message.contains(name))
}

/// Returns whether a statement cannot be prepared because of the table or the rights.
pub(super) fn is_schema(error: &PrepareError) -> bool {
    let PrepareError::AllAttemptsFailed { first_attempt: RequestAttemptError::DbError(error, _), .. } = error else {
        return false;
    };
    matches!(error, DbError::Invalid) || is_for_people(error)
}

/// Returns whether an answer stays the same until somebody changes something.
fn is_for_people(error: &DbError) -> bool {
    matches!(error, DbError::SyntaxError | DbError::AuthenticationError | DbError::Unauthorized | DbError::ConfigError)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use scylla::errors::WriteType;
    use scylla::statement::Consistency;

    use super::*;

    fn answer(error: DbError) -> Verdict {
        judge(&ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, "said so".to_owned())))
    }

    #[test]
    fn outages_wait() {
        let unavailable = DbError::Unavailable { consistency: Consistency::One, required: 1, alive: 0 };
        let timeout = DbError::WriteTimeout {
            consistency: Consistency::LocalQuorum,
            received: 1,
            required: 2,
            write_type: WriteType::Simple,
        };
        for error in [unavailable, timeout, DbError::Overloaded, DbError::IsBootstrapping, DbError::ServerError] {
            assert!(matches!(answer(error), Verdict::Await(_)));
        }
        for error in [ExecutionError::EmptyPlan, ExecutionError::RequestTimeout(Duration::from_secs(1))] {
            assert!(matches!(judge(&error), Verdict::Await(_)));
        }
    }

    #[test]
    fn rights_and_tables_are_mended_and_only_invalid_rows_are_refused() {
        for error in [DbError::Unauthorized, DbError::SyntaxError, DbError::ConfigError] {
            assert!(matches!(answer(error), Verdict::Mend(_)));
        }
        assert!(matches!(answer(DbError::Invalid), Verdict::RefuseOrMend(_)));
        let long = ExecutionError::BadQuery(BadQuery::ValuesTooLongForKey(70_000, 65_535));
        assert!(matches!(judge(&long), Verdict::RefuseOrMend(_)));
    }

    #[test]
    fn guardrails_refuse_a_row_only_for_the_size_of_a_value() {
        let answer = |message: &str| {
            let error = RequestAttemptError::DbError(DbError::Invalid, message.to_owned());
            judge(&ExecutionError::LastAttemptError(error))
        };
        let full = "Guardrail replica_disk_usage violated: Write request failed because disk usage exceeds failure \
                    threshold in exactly these replicas: [10.0.0.1]";
        assert!(matches!(answer(full), Verdict::Mend(_)));
        let long = "Guardrail column_value_size violated: Value of column 'text' has size 2MiB, this exceeds the \
                    failure threshold of 1MiB.";
        assert!(matches!(answer(long), Verdict::RefuseOrMend(_)));
        assert!(matches!(answer("Key may not be empty"), Verdict::RefuseOrMend(_)));
    }
}
