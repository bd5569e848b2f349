# Each service has two roles: one that starts it, which reads its secrets and no others, and one that it has itself.
data "aws_iam_policy_document" "tasks" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_iam_role" "start" {
  for_each           = local.tasks
  name               = "${var.name}-${each.key}-start"
  assume_role_policy = data.aws_iam_policy_document.tasks.json
}

data "aws_iam_policy_document" "start" {
  for_each = local.tasks
  statement {
    sid       = "Login"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"] # it has no narrower one
  }
  statement {
    sid       = "Image"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = ["arn:aws:ecr:${var.region}:${local.account}:repository/*"]
  }
  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:log-stream:${each.key}/*"]
  }
  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [for secret in distinct(values(each.value.secrets)) : local.secret_arns[secret]]
  }
}

resource "aws_iam_role_policy" "start" {
  for_each = local.tasks
  name     = "start"
  role     = aws_iam_role.start[each.key].id
  policy   = data.aws_iam_policy_document.start[each.key].json
}

resource "aws_iam_role" "own" {
  for_each           = local.tasks
  name               = "${var.name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.tasks.json
}

# MLflow keeps its files under one prefix, runs theirs under another.
data "aws_iam_policy_document" "bucket" {
  for_each = { mlflow = "mlflow", run = "zava" }
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.this.arn]
    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${each.value}", "${each.value}/*"]
    }
  }
  statement {
    sid       = "Objects"
    actions   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"]
    resources = ["${aws_s3_bucket.this.arn}/${each.value}/*"]
  }
}

resource "aws_iam_role_policy" "bucket" {
  for_each = data.aws_iam_policy_document.bucket
  name     = "bucket"
  role     = aws_iam_role.own[each.key].id
  policy   = each.value.json
}

# The worker starts and ends runs on this cluster, of the one kind that is defined here, and can make no other.
data "aws_iam_policy_document" "worker" {
  statement {
    sid       = "Start"
    actions   = ["ecs:RunTask"]
    resources = ["${aws_ecs_task_definition.this["run"].arn_without_revision}:*"]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [aws_ecs_cluster.this.arn]
    }
  }
  statement {
    sid       = "WatchAndEnd"
    actions   = ["ecs:DescribeTasks", "ecs:StopTask", "ecs:TagResource"]
    resources = ["arn:aws:ecs:${var.region}:${local.account}:task/${aws_ecs_cluster.this.name}/*"]
  }
  statement {
    sid       = "Read"
    actions   = ["ecs:DescribeTaskDefinition", "ec2:DescribeSubnets", "ec2:DescribeVpcs"]
    resources = ["*"] # they have no narrower one
  }
  statement {
    sid       = "HandOn"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.own["run"].arn, aws_iam_role.start["run"].arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "worker" {
  name   = "runs"
  role   = aws_iam_role.own["worker"].id
  policy = data.aws_iam_policy_document.worker.json
}
