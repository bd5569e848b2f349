output "bucket" {
  description = "Of datasets, reports and MLflow's files."
  value       = aws_s3_bucket.this.id
}

output "secrets" {
  description = "Whose values are still to be put in."
  value       = sort([for secret in aws_secretsmanager_secret.this : secret.name])
}

output "profile" {
  description = "The sections of a profile that say where all of it is; append them to what is trained and where."
  value = yamlencode({
    workspace = "/data/zava"
    storage   = { url = "s3://${aws_s3_bucket.this.id}/zava" }
    tracking  = { mlflow_uri = "http://mlflow.${local.domain}:5000" }
    services = {
      prefect_url = "http://prefect.${local.domain}:4200"
      shop_url    = "http://shop.${local.domain}:8765/mcp"
    }
    deployment = {
      folder    = "/app"
      pool      = var.name
      pool_type = "ecs"
      job_variables = {
        cluster             = aws_ecs_cluster.this.arn
        task_definition_arn = aws_ecs_task_definition.this["run"].arn
        container_name      = "run"
        launch_type         = "FARGATE"
        vpc_id              = var.vpc_id
        network_configuration = {
          subnets        = var.subnet_ids
          securityGroups = [aws_security_group.services.id]
          assignPublicIp = "DISABLED"
        }
      }
    }
  })
}
