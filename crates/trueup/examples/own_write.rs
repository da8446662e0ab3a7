//! One's own writes: a token for what was written, and a decision that rests on what was locked.
//!
//! ```sh
//! cargo run -p trueup --example own_write
//! ```

mod shop;

use std::error::Error;

use trueup::{Authoritative, Trueup};

use shop::{Product, Shop};

/// Takes what a transaction has read and locked. A `Cached<Product>` does not fit.
fn discounted(product: &Authoritative<'_, Product>) -> Option<i64> {
    product.value().filter(|product| product.price > 500).map(|product| product.price * 9 / 10)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shop = Shop::open()?;
    let trueup = Trueup::builder().source(shop.source()?).build().await?;
    let products = trueup.class::<i64, Product>("product")?;
    let shown = products.get(&42).await?;
    println!("shown:   {:?}", shown.value());

    let (price, token) = trueup
        .write(async |tx| {
            let product = products.authoritative(tx, &42).await?;
            let price = discounted(&product).ok_or("nothing to discount")?;
            tx.execute("UPDATE product SET price = ?1 WHERE id = 42", [price])?;
            Ok::<_, Box<dyn Error + Send + Sync>>(price)
        })
        .await
        .map_err(|error| error.to_string())?;

    // Wherever it is read, this very instant: the token stands for the write.
    let own = products.read(&42).token(token).run().await?;
    println!("written: {:?} from {}", own.value(), own.receipt().served_by);
    assert_eq!(own.value().map(|product| product.price), Some(price));
    trueup.shut_down().await;
    Ok(())
}
