//! Items, their keys and their attributes.

use aws_sdk_dynamodb::types::AttributeValue;
use std::{collections::HashMap, str::FromStr};

/// An item, or some of its attributes.
pub type Item = HashMap<String, AttributeValue>;

/// The key of an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The partition key.
    pub pk: String,
    /// The sort key.
    pub sk: String,
}

impl Key {
    /// Creates a key from a partition key and a sort key.
    pub fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self { pk: pk.into(), sk: sk.into() }
    }

    /// Returns the key as attributes.
    pub fn item(&self) -> Item {
        Item::from([("pk".to_owned(), text(&self.pk)), ("sk".to_owned(), text(&self.sk))])
    }
}

/// Creates a string attribute.
pub fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// Creates a number attribute.
pub fn number(value: impl Copy + ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Creates a binary attribute.
pub fn binary(value: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(aws_sdk_dynamodb::primitives::Blob::new(value))
}

/// Returns a string attribute.
pub fn get_text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// Returns a number attribute.
pub fn get_number<T: FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// Returns a binary attribute.
pub fn get_binary<'a>(item: &'a Item, name: &str) -> Option<&'a [u8]> {
    item.get(name)?.as_b().ok().map(AsRef::as_ref)
}

/// Returns the attributes that an expression names with a sign, as `#status`: reserved words. `None`: it has none.
pub fn named_attributes(expression: &str) -> Option<HashMap<String, String>> {
    let name = |rest: &str| {
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let name = &rest[..end.unwrap_or(rest.len())];
        (format!("#{name}"), name.to_owned())
    };
    let names: HashMap<String, String> = expression.split('#').skip(1).map(name).collect();
    Some(names).filter(|names| !names.is_empty())
}

/// Returns the approximate size of an item in bytes.
pub fn size(item: &Item) -> usize {
    let value_size = |value: &AttributeValue| match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        _ => 8,
    };
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}
