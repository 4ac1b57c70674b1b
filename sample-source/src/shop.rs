//! An API as people have them: tokens by OAuth 2.0, orders in pages from a number on, visits as lines with an ETag, and a
//! door that a test closes. Each shop is by its name, and says what it has and what it was asked.
//!
//! ```text
//! PUT  /shops/NAME           changes how much there is, whether the door is open, and whether the token counts
//! GET  /shops/NAME           what it has and was asked: the truth that a test holds rows against
//! POST /shops/NAME/token     a bearer token for client `shop` with the secret `s3cret`
//! GET  /shops/NAME/orders    three a page, from `since` on, with a Link to the next page
//! GET  /shops/NAME/visits    a record a line; those that are fourth of ten have `sex` in place of `gender`
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use millrace_profile::{profile, seed_of};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Orders of a page.
const PAGE: u64 = 3;

/// The client `shop` with the secret `s3cret`, as HTTP's basic authentication writes them.
const CLIENT: &str = "Basic c2hvcDpzM2NyZXQ=";

/// The shops by name.
type Shops = Arc<Mutex<HashMap<String, Shop>>>;

/// What there is, as a test sets it.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stock {
    /// Orders that there are.
    orders: u64,
    /// Visits that there were.
    visits: u64,
    /// The first visit that is still shown.
    #[serde(default)]
    first_visit: u64,
    /// Orders are answered 404.
    #[serde(default)]
    closed: bool,
    /// The token that was given last does not count any more.
    #[serde(default)]
    revoked: bool,
}

/// One shop.
#[derive(Debug, Default)]
struct Shop {
    stock: Stock,
    asked: Asked,
}

/// What it was asked.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    /// Tokens that were given.
    tokens: u64,
    /// Pages of orders after the first of a poll.
    further_pages: u64,
    /// Polls of orders from the beginning.
    from_the_beginning: u64,
    /// Where the last poll of orders began. Absent: at the beginning.
    since: Option<u64>,
    /// Answers without visits, since nothing had changed.
    unchanged: u64,
}

/// Returns the routes of the shops.
pub(crate) fn router() -> Router {
    Router::new()
        .route("/shops/{name}", get(show).put(change))
        .route("/shops/{name}/token", post(token))
        .route("/shops/{name}/orders", get(orders))
        .route("/shops/{name}/visits", get(visits))
        .with_state(Shops::default())
}

fn lock(shops: &Shops) -> MutexGuard<'_, HashMap<String, Shop>> {
    shops.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn change(State(shops): State<Shops>, Path(name): Path<String>, Json(stock): Json<Stock>) {
    lock(&shops).entry(name).or_default().stock = stock;
}

async fn show(State(shops): State<Shops>, Path(name): Path<String>) -> Json<Value> {
    let mut shops = lock(&shops);
    let Shop { stock, asked } = shops.entry(name.clone()).or_default();
    let ids = |what: &str, count: u64| -> Vec<String> {
        (0..count).map(|index| profile(seed(&name, what), index).id).collect()
    };
    Json(json!({"orders": ids("orders", stock.orders), "visits": ids("visits", stock.visits), "asked": asked}))
}

fn seed(name: &str, what: &str) -> u64 {
    seed_of(&format!("{name}-{what}"))
}

async fn token(State(shops): State<Shops>, Path(name): Path<String>, headers: HeaderMap, form: String) -> Response {
    let is_known = headers.get(header::AUTHORIZATION).is_some_and(|value| value == CLIENT);
    if !is_known || !form.contains("grant_type=client_credentials") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mut shops = lock(&shops);
    let Shop { stock, asked } = shops.entry(name).or_default();
    stock.revoked = false;
    asked.tokens += 1;
    Json(json!({"access_token": format!("t{}", asked.tokens), "token_type": "bearer", "expires_in": 3600}))
        .into_response()
}

#[derive(Deserialize)]
struct Ask {
    /// The first order that is asked for. Absent: the first that there is.
    since: Option<u64>,
    #[serde(default)]
    page: u64,
}

async fn orders(
    State(shops): State<Shops>,
    Path(name): Path<String>,
    Query(Ask { since, page }): Query<Ask>,
    headers: HeaderMap,
) -> Response {
    let mut shops = lock(&shops);
    let Shop { stock, asked } = shops.entry(name.clone()).or_default();
    let wanted = format!("Bearer t{}", asked.tokens);
    if stock.revoked || headers.get(header::AUTHORIZATION).is_none_or(|value| value != wanted.as_str()) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if stock.closed {
        return StatusCode::NOT_FOUND.into_response();
    }
    if page == 0 {
        asked.since = since;
        asked.from_the_beginning += u64::from(since.is_none());
    } else {
        asked.further_pages += 1;
    }
    let first = since.unwrap_or_default() + page * PAGE;
    let last = (first + PAGE).min(stock.orders);
    let orders: Vec<Value> = (first..last).map(|index| record(&name, "orders", index)).collect();
    let answer = Json(json!({"orders": orders}));
    if last == stock.orders {
        return answer.into_response();
    }
    let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
    let link = format!("</shops/{name}/orders?page={}{since}>; rel=\"next\"", page + 1);
    ([(header::LINK, link)], answer).into_response()
}

async fn visits(State(shops): State<Shops>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let mut shops = lock(&shops);
    let Shop { stock, asked } = shops.entry(name.clone()).or_default();
    let tag = format!("\"{}-{}\"", stock.first_visit, stock.visits);
    if headers.get(header::IF_NONE_MATCH).is_some_and(|value| value == tag.as_str()) {
        asked.unchanged += 1;
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let lines: String =
        (stock.first_visit..stock.visits).map(|index| format!("{}\n", record(&name, "visits", index))).collect();
    ([(header::CONTENT_TYPE, "application/x-ndjson".to_owned()), (header::ETAG, tag)], lines).into_response()
}

/// Makes a record: a person, and its number.
fn record(name: &str, what: &str, index: u64) -> Value {
    let mut record = serde_json::to_value(profile(seed(name, what), index)).expect("a profile is JSON");
    record["number"] = json!(index);
    if what == "visits" && index % 10 == 3 {
        let fields = record.as_object_mut().expect("a profile is an object");
        let gender = fields.remove("gender").expect("a profile has it");
        fields.insert("sex".to_owned(), gender);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shops(stock: Stock) -> State<Shops> {
        let shop = Shop { stock, asked: Asked { tokens: 1, ..Asked::default() } };
        State(Arc::new(Mutex::new(HashMap::from([("a".to_owned(), shop)]))))
    }

    fn name() -> Path<String> {
        Path("a".to_owned())
    }

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, header::HeaderValue::from_static(value))])
    }

    async fn text(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body in memory");
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    #[tokio::test]
    async fn orders_come_in_pages_from_a_number_on_for_those_with_the_token() {
        let shops = shops(Stock { orders: 9, ..Stock::default() });
        let ask = |since, page| Query(Ask { since, page });
        let token = || headers(header::AUTHORIZATION, "Bearer t1");
        let first = orders(shops.clone(), name(), ask(Some(4), 0), token()).await;
        assert_eq!(first.headers()[header::LINK], "</shops/a/orders?page=1&since=4>; rel=\"next\"");
        assert!(text(first).await.contains("\"number\":4"));
        let last = orders(shops.clone(), name(), ask(Some(4), 1), token()).await;
        assert!(!last.headers().contains_key(header::LINK));
        assert!(text(last).await.contains("\"number\":8"));
        let wrong = headers(header::AUTHORIZATION, "Bearer t0");
        assert_eq!(orders(shops.clone(), name(), ask(None, 0), wrong).await.status(), StatusCode::UNAUTHORIZED);
        let Json(shown) = show(shops, name()).await;
        assert_eq!(shown["asked"]["since"], json!(4));
        assert_eq!((&shown["asked"]["furtherPages"], shown["orders"].as_array().map(Vec::len)), (&json!(1), Some(9)));
    }

    #[tokio::test]
    async fn visits_are_lines_and_are_not_sent_again() {
        let shops = shops(Stock { visits: 5, first_visit: 2, ..Stock::default() });
        let lines = text(visits(shops.clone(), name(), HeaderMap::new()).await).await;
        let has: Vec<bool> = lines.lines().map(|line| line.contains("\"gender\"")).collect();
        assert_eq!(has, [true, false, true]);
        let again = visits(shops, name(), headers(header::IF_NONE_MATCH, "\"2-5\"")).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }

    #[tokio::test]
    async fn a_token_is_for_the_client_alone() {
        let form = || "grant_type=client_credentials&scope=x".to_owned();
        let given = token(shops(Stock::default()), name(), headers(header::AUTHORIZATION, CLIENT), form()).await;
        assert!(text(given).await.contains("\"t2\""));
        let refused = token(shops(Stock::default()), name(), HeaderMap::new(), form()).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    }
}
