"""What is committed but generated: gRPC stubs, dashboards, the chart's reference and schema, a job's manifest."""
