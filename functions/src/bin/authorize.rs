//! API Gateway's authorizer: lets requests through whose `Authorization` header has the form of a credential. The API checks the credential
//! itself. API Gateway invokes this once an hour for each value, and rejects requests without the header by itself.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use tidemill_functions::authorizer::reply_to;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(|event: LambdaEvent<Value>| async move { Ok::<Value, Error>(reply_to(&event.payload)) }))
        .await
}
