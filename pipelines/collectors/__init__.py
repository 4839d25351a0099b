"""What stands at the door: who may deliver a message, and how it reaches Kafka unchanged and acknowledged."""
