"""The write edge: it judges one ping alone, and acknowledges it only after Kafka has."""
