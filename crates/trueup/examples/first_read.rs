//! A first read: from the database, then from memory, then after another program has written.
//!
//! ```sh
//! cargo run -p trueup --example first_read
//! ```

mod shop;

use std::error::Error;

use trueup::{ServedBy, Trueup};

use shop::{Product, Shop};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shop = Shop::open()?;
    let trueup = Trueup::builder().source(shop.source()?).build().await?;
    let products = trueup.class::<i64, Product>("product")?;

    let first = products.get(&42).await?;
    println!("first:  {:?} from {}", first.value(), first.receipt().served_by);
    assert_eq!(first.receipt().served_by, ServedBy::Source);

    let second = products.get(&42).await?;
    println!(
        "second: {:?} from {}, at most {:?} old",
        second.value(),
        second.receipt().served_by,
        second.receipt().age
    );
    assert_eq!(second.receipt().served_by, ServedBy::L1);

    // Any program, by plain SQL. Nobody tells the cache.
    shop.other_program()?.execute("UPDATE product SET price = 900 WHERE id = 42", [])?;
    let token = trueup.cache().token().await?;
    trueup.cache().feed().until_applied(token.position).await;
    let third = products.get(&42).await?;
    println!("third:  {:?} from {}", third.value(), third.receipt().served_by);
    assert_eq!(third.value().map(|product| product.price), Some(900));

    let absent = products.get(&7).await?;
    assert!(absent.is_absent());
    trueup.shut_down().await;
    Ok(())
}
