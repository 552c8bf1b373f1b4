"""What a failed S3 call means for the person in front of the screen: one sentence, one next step, one exit code."""

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
)

from packages.cloud.src.exit_codes import (
    EX_CONFIG,
    EX_NOINPUT,
    EX_NOPERM,
    EX_TEMPFAIL,
    EX_UNAVAILABLE,
    EX_USAGE,
    UserError,
)

# The permission behind each call, which is not always its name: HeadObject needs s3:GetObject.
PERMISSIONS = {
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "DeleteObject": "s3:DeleteObject",
    "ListObjectsV2": "s3:ListBucket",
}
DENIED = ("AccessDenied", "403", "Forbidden", "AllAccessDisabled", "AccountProblem")
SIGN_IN_AGAIN = (
    "ExpiredToken",
    "ExpiredTokenException",
    "TokenRefreshRequired",
    "InvalidToken",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
)
WRONG_REGION = (
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "301",
)
TRY_LATER = (
    "SlowDown",
    "InternalError",
    "ServiceUnavailable",
    "RequestTimeout",
    "BadDigest",
    "ConditionalRequestConflict",
    "OperationAborted",
    "500",
    "502",
    "503",
    "504",
)


def explained(
    error: ClientError | BotoCoreError,
    operation: str,
    bucket: str,
    key: str,
    endpoint: str,
) -> UserError:
    """The user's view of an error that no retry has cured.

    Args:
        operation: name of the S3 call, such as `PutObject`.
        key: full key in the bucket; empty for a call on the bucket itself.
        endpoint: address that was called.
    """
    place = f"s3://{bucket}/{key}" if key else f"s3://{bucket}"
    if not isinstance(error, ClientError):
        return _no_answer(error, operation, place, endpoint)
    code = str(error.response.get("Error", {}).get("Code", ""))
    found = f"{code}: {error.response.get('Error', {}).get('Message', '')}".rstrip(
        ": ."
    )
    if code in DENIED:
        permission = PERMISSIONS.get(operation, f"s3:{operation}")
        resource = (
            f"arn:aws:s3:::{bucket}"
            if permission == "s3:ListBucket"
            else f"arn:aws:s3:::{bucket}/{key}"
        )
        return UserError(
            f"S3 refused {permission} on {resource} ({found}). Add that action on that resource to the policy of the "
            "role in use (`aws sts get-caller-identity` names it)."
            + (
                f" S3 also answers so for a missing key when s3:ListBucket on arn:aws:s3:::{bucket} is not allowed."
                if permission == "s3:GetObject"
                else ""
            ),
            EX_NOPERM,
        )
    if code in SIGN_IN_AGAIN:
        return UserError(
            f"S3 did not accept the AWS credentials ({found}). Sign in again (`aws sso login`), or renew the keys.",
            EX_NOPERM,
        )
    if code == "NoSuchBucket":
        return UserError(
            f"The bucket {bucket} does not exist at {endpoint}. Correct the name, or create it "
            "(`terraform apply` in infra/).",
            EX_NOINPUT,
        )
    if code == "InvalidBucketName":
        return UserError(
            f"{bucket!r} is no bucket name. Use 3 to 63 lower-case letters, digits, dots or hyphens.",
            EX_USAGE,
        )
    if code == "RequestTimeTooSkewed":
        return UserError(
            f"S3 refused the request because the clock of this machine is wrong ({found}). Set it, for example with "
            "`timedatectl set-ntp true`.",
            EX_CONFIG,
        )
    if code in WRONG_REGION:
        return UserError(
            f"The bucket {bucket} lies in another region than the one in use ({found}). Set AWS_REGION to its region.",
            EX_CONFIG,
        )
    if code in TRY_LATER:
        return UserError(
            f"S3 could not serve {operation} on {place} after several tries ({found}). Nothing is half-written: "
            "run the same command again.",
            EX_TEMPFAIL,
        )
    return UserError(
        f"S3 refused {operation} on {place} ({found}). Nothing is half-written.",
        EX_UNAVAILABLE,
    )


def _no_answer(
    error: BotoCoreError, operation: str, place: str, endpoint: str
) -> UserError:
    reason = str(error).rstrip(".")
    if isinstance(
        error,
        NoCredentialsError
        | PartialCredentialsError
        | CredentialRetrievalError
        | SSOError,
    ):
        return UserError(
            f"{operation} on {place} needs AWS credentials: {reason}. Run `aws sso login`, or set AWS_PROFILE.",
            EX_NOPERM,
        )
    if isinstance(error, ProfileNotFound):
        return UserError(
            f"{reason}. Set AWS_PROFILE to one that `aws configure list-profiles` shows.",
            EX_CONFIG,
        )
    if isinstance(error, ParamValidationError):
        return UserError(
            f"{place} is no address S3 accepts: {reason}. Use s3://bucket/prefix.",
            EX_USAGE,
        )
    if isinstance(error, ConnectionError | HTTPClientError):
        return UserError(
            f"No answer to {operation} on {place} from {endpoint}: {reason}. Check the network and, if it is set, "
            "AWS_ENDPOINT_URL; then run the same command again.",
            EX_UNAVAILABLE,
        )
    return UserError(f"{operation} on {place} failed: {reason}.", EX_UNAVAILABLE)
