//! SQS as the recorders see it that forward messages: two queues that take messages, and fail on demand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::config::RuntimeComponents;
use aws_sdk_sqs::config::{Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use record_activity::Forwarder;
use serde_json::{Value, json};

use crate::Message;

/// The role of all recorders.
pub const RECORDER: &str = "AROAEXAMPLERECORDER00";
/// The role of those who move refused messages back.
pub const OPERATOR: &str = "AROAEXAMPLEOPERATOR00";
const RETRY: &str = "https://sqs.example/retry";
const REFUSED: &str = "https://sqs.example/refused";

/// The way in which a request to forward messages fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardFault {
    /// The connection breaks before the request reaches SQS.
    Unsent,
    /// The messages are in the queue, and the response is lost.
    LostResponse,
    /// SQS throttles the request.
    Throttled,
    /// SQS takes all messages but the first.
    FirstFailed,
}

/// The two queues. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Forwards(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The queue, the delay in seconds, and the message of each that was forwarded.
    messages: Vec<(String, u64, Message)>,
    faults: VecDeque<ForwardFault>,
    requests: usize,
    sent: i64,
}

impl Forwards {
    /// A forwarder to them.
    pub fn forwarder(&self) -> Forwarder {
        let config = record_activity::config()
            .http_client(self.clone())
            .endpoint_url("https://sqs.example")
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("recorder", "local", None, None, "local"));
        Forwarder {
            client: aws_sdk_sqs::Client::from_conf(config.build()),
            retry_queue: RETRY.into(),
            refused_queue: REFUSED.into(),
        }
    }

    /// Makes the next requests fail with these faults, in order.
    pub fn fail(&self, faults: impl IntoIterator<Item = ForwardFault>) {
        self.0.lock().unwrap().faults.extend(faults);
    }

    /// The number of requests since the last call.
    pub fn take_requests(&self) -> usize {
        std::mem::take(&mut self.0.lock().unwrap().requests)
    }

    /// Takes the parked messages, each with its delay in seconds.
    pub fn take_parked(&self) -> Vec<(u64, Message)> {
        self.take(RETRY)
    }

    /// Takes the refused messages.
    pub fn take_refused(&self) -> Vec<Message> {
        self.take(REFUSED).into_iter().map(|(_, message)| message).collect()
    }

    fn take(&self, queue: &str) -> Vec<(u64, Message)> {
        let mut state = self.0.lock().unwrap();
        let (taken, left) =
            std::mem::take(&mut state.messages).into_iter().partition(|(url, ..)| url == queue);
        state.messages = left;
        taken.into_iter().map(|(_, delay, message)| (delay, message)).collect()
    }

    fn answer(&self, input: &Value, fault: Option<ForwardFault>) -> Value {
        let mut state = self.0.lock().unwrap();
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for (index, entry) in input["Entries"].as_array().unwrap().iter().enumerate() {
            if index == 0 && fault == Some(ForwardFault::FirstFailed) {
                failed.push(json!({ "Id": entry["Id"], "Code": "InternalError", "SenderFault": false }));
                continue;
            }
            state.sent += 1;
            let id = format!("forwarded-{}", state.sent);
            let mut message = Message::new(&id, entry["MessageBody"].as_str().unwrap()).from_role(RECORDER);
            for (name, value) in entry["MessageAttributes"].as_object().unwrap() {
                let text = value["StringValue"].as_str().unwrap().to_owned();
                message.attributes.insert(name.clone(), text);
            }
            message.group = entry["MessageGroupId"].as_str().map(str::to_owned);
            let url = input["QueueUrl"].as_str().unwrap().to_owned();
            state.messages.push((url, entry["DelaySeconds"].as_u64().unwrap(), message));
            successful.push(json!({ "Id": entry["Id"], "MessageId": id, "MD5OfMessageBody": "" }));
        }
        json!({ "Successful": successful, "Failed": failed })
    }
}

impl HttpClient for Forwards {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Forwards {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let fault = {
            let mut state = self.0.lock().unwrap();
            state.requests += 1;
            state.faults.pop_front()
        };
        let input: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap();
        assert_eq!(request.headers().get("x-amz-target"), Some("AmazonSQS.SendMessageBatch"));
        let answer = match fault {
            Some(ForwardFault::Unsent) => Err(ConnectorError::io("connection reset before sending".into())),
            Some(ForwardFault::Throttled) => {
                Ok((400, json!({ "__type": "com.amazonaws.sqs#RequestThrottled" })))
            }
            Some(ForwardFault::LostResponse) => {
                self.answer(&input, fault);
                Err(ConnectorError::io("connection reset before the response".into()))
            }
            None | Some(ForwardFault::FirstFailed) => Ok((200, self.answer(&input, fault))),
        };
        HttpConnectorFuture::ready(answer.map(|(status, body)| {
            HttpResponse::new(u16::try_into(status).unwrap(), SdkBody::from(body.to_string()))
        }))
    }
}
