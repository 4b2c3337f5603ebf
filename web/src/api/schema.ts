// Written by `npm run api` from openapi.json; do not edit.
export interface paths {
    "/api/artifact/archive/{executionId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * All artifacts of an execution in a tar
         * @description All artifacts of an execution in a tar. Needs a token.
         */
        get: operations["artifact-archive"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/artifact/content/{artifactId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * The bytes of an artifact
         * @description The bytes of an artifact. Needs a token.
         */
        put: operations["artifact-content"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/artifact/download/{artifactId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The stored bytes of an artifact
         * @description The stored bytes of an artifact. Needs a token.
         */
        get: operations["artifact-download"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/artifact/file/{artifactId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * One file of an artifact
         * @description One file of an artifact. Needs a token.
         */
        get: operations["artifact-file"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/artifact/link/{artifactId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * A link to the files of an artifact
         * @description A link to the files of an artifact. Needs a token.
         */
        post: operations["artifact-link"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/artifact/list/{executionId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Artifacts of an execution
         * @description Artifacts of an execution. Needs a token.
         */
        get: operations["artifact-list"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/artifact/upload": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Announce or complete an artifact
         * @description First without `complete`: the reply says where to send the bytes. Then with it: the artifact is recorded. A tar, or one compressed with zstd. Needs a token.
         */
        post: operations["artifact-upload"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/audit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Audit log, newest first
         * @description Audit log, newest first. Needs a token.
         */
        get: operations["audit"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/badge": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * The key of a repository's badges
         * @description The key of a repository's badges. Needs a token.
         */
        post: operations["badge"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/badge/revoke": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Revoke the key of a repository's badges
         * @description Revoke the key of a repository's badges. Needs a token.
         */
        post: operations["badge-revoke"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/badge/{badgeKey}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Image of the state of a default branch
         * @description Image of the state of a default branch. Needs no token.
         */
        get: operations["badge-image"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/cache/content/{jobId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The bytes of a cache
         * @description The bytes of a cache. Needs a token.
         */
        get: operations["cache-content"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/cache/lookup": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Look up a cache
         * @description Look up a cache. Needs a token.
         */
        post: operations["cache-lookup"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/environment": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A repository's environments
         * @description A repository's environments. Needs a token.
         */
        get: operations["environment"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/environment/protection": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The rules of protected environments
         * @description The rules of protected environments. Needs a token.
         */
        get: operations["environment-protection"];
        put?: never;
        /**
         * Protect an environment
         * @description Protect an environment. Needs a token.
         */
        post: operations["environment-protection-set"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/environment/stop": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Stop an environment
         * @description Stop an environment. Needs a token.
         */
        post: operations["environment-stop"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/environment/unprotect": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Stop protecting an environment
         * @description Stop protecting an environment. Needs a token.
         */
        post: operations["environment-unprotect"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Executions, jobs and artifacts as rows
         * @description Executions, jobs and artifacts as rows. Needs a token.
         */
        get: operations["export"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Health of the server
         * @description For load balancers and monitors. Details need a token. Needs no token.
         */
        get: operations["health"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/insights": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Statistics of the pipelines of a repository
         * @description Statistics of the pipelines of a repository. Needs a token.
         */
        get: operations["insights"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/job/approve/{jobId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Approve a job
         * @description Approve a job. Needs a token.
         */
        post: operations["job-approve"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/job/cancel/{jobId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Cancel one job
         * @description After the reply none of its attempts starts; a running one is stopped within 10 s. Needs a token.
         */
        post: operations["job-cancel"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/job/child": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Start the pipeline of a job
         * @description Start the pipeline of a job. Needs a token.
         */
        post: operations["job-child"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/job/dead-letters": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Dead letters
         * @description Dead letters. Needs a token.
         */
        get: operations["job-dead-letters"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/job/dismiss/{jobId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Dismiss a dead letter
         * @description Dismiss a dead letter. Needs a token.
         */
        post: operations["job-dismiss"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/job/execute": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Claim a job
         * @description Gives the caller one attempt of a job, with a lease. With `job_id` (from a message of the queue) it is that job; without, the next one that is ready and whose labels the worker has. Deployments on AWS do not hold the request: ask again after a second. Reply `nothing`: delete the message. Needs a token.
         */
        post: operations["job-execute"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/job/log-times/{jobId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Times of the lines of a log
         * @description Times of the lines of a log. Needs a token.
         */
        get: operations["job-log-times"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/job/logs/{jobId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Log bytes from an offset
         * @description The bytes from `offset` on. The header `x-tidemill-log-next` is the offset of the next request; `x-tidemill-log-end: true` says that a finished log ends there. Needs a token.
         */
        get: operations["job-logs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/job/shell-session/{sessionId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Open the worker's end of a shell by WebSocket
         * @description Open the worker's end of a shell by WebSocket. Needs a token.
         */
        get: operations["job-shell-session"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/job/shell/{jobId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Open a shell in a job by WebSocket
         * @description Open a shell in a job by WebSocket. Needs a token.
         */
        get: operations["job-shell"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/job/status": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Report on an attempt
         * @description Heartbeat, log bytes and status in one call. Send one at least every third of the lease, and at most about one a second. All that the report has is stored when the reply arrives. If the reply says `cancel`, stop the job and report its end. Needs a token.
         */
        post: operations["job-status"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/job/summary-report": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Report the summary and annotations of an attempt
         * @description Report the summary and annotations of an attempt. Needs a token.
         */
        post: operations["job-summary-report"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/job/summary/{jobId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The summary of a job in Markdown
         * @description The summary of a job in Markdown. Needs a token.
         */
        get: operations["job-summary"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/job/tests": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Report the test results of an attempt
         * @description Report the test results of an attempt. Needs a token.
         */
        post: operations["job-tests"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/oidc/.well-known/openid-configuration": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * How others verify ID tokens of jobs
         * @description How others verify ID tokens of jobs. Needs no token.
         */
        get: operations["oidc-configuration"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/oidc/jwks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The keys that verify ID tokens of jobs
         * @description The keys that verify ID tokens of jobs. Needs no token.
         */
        get: operations["oidc-jwks"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/openapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * This document
         * @description This document. Needs no token.
         */
        get: operations["openapi"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/overview": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Repositories, and what runs and waits
         * @description Repositories, and what runs and waits. Needs a token.
         */
        get: operations["overview"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/pipeline/approve/{executionId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Approve an execution
         * @description Approve an execution. Needs a token.
         */
        post: operations["pipeline-approve"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/pipeline/cancel/{executionId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Cancel an execution
         * @description After the reply no attempt starts, and running jobs are stopped. The jobs of an execution with more than 1,000 are canceled after the reply. Needs a token.
         */
        post: operations["pipeline-cancel"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/pipeline/changes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Server-sent events of all executions
         * @description Server-sent events of all executions. Needs a token.
         */
        get: operations["pipeline-changes"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/pipeline/discovered": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Report the pipeline files of a commit
         * @description Report the pipeline files of a commit. Needs a token.
         */
        post: operations["pipeline-discovered"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/pipeline/events/{executionId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Server-sent events of an execution
         * @description Server-sent events of an execution. Needs a token.
         */
        get: operations["pipeline-events"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/pipeline/excluded/{executionId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The jobs that take no part in an execution
         * @description The jobs that take no part in an execution. Needs a token.
         */
        get: operations["pipeline-excluded"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/pipeline/execute": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Start an execution
         * @description Checks the pipeline file, records the execution with its jobs, and queues those that can start. If a live execution of the same request exists and `force` is not set, the reply is that one, with `attached`. An execution with more than 1,000 jobs is recorded after the reply: until then, `GET` of one of its jobs is 404. Needs a token.
         */
        post: operations["pipeline-execute"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/pipeline/executions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Executions, newest first
         * @description Executions, newest first. Needs a token.
         */
        get: operations["pipeline-executions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/pipeline/file/{executionId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The pipeline file of an execution
         * @description The pipeline file of an execution. Needs a token.
         */
        get: operations["pipeline-file"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/pipeline/inputs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * The inputs of a pipeline file
         * @description The inputs of a pipeline file. Needs a token.
         */
        post: operations["pipeline-inputs"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/pipeline/pin/{executionId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Pin or unpin an execution
         * @description Pin or unpin an execution. Needs a token.
         */
        post: operations["pipeline-pin"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/pipeline/retry/{executionId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Retry an ended execution
         * @description Starts a new execution that carries over the jobs that succeeded, and runs the others again. Needs a token.
         */
        post: operations["pipeline-retry"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/pipeline/status/{executionId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * An execution with its jobs
         * @description The reply has an `ETag`. With `If-None-Match` and `wait_ms`, it is held until something changes, or is 304. A reply has at most 1,000 jobs; the next ones come with `cursor`, and belong to it if their `ETag` is the same. Needs a token.
         */
        get: operations["pipeline-status"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/pipeline/summary/{executionId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Summaries and annotations of an execution
         * @description Summaries and annotations of an execution. Needs a token.
         */
        get: operations["pipeline-summary"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/pipeline/tests/{executionId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Test results of an execution
         * @description Test results of an execution. Needs a token.
         */
        get: operations["pipeline-tests"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/pipeline/usage/{executionId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Cloud resources that an execution used
         * @description Cloud resources that an execution used. Needs a token.
         */
        get: operations["pipeline-usage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/pipeline/variables": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The variables that an execution gets
         * @description The variables that an execution gets. Needs a token.
         */
        get: operations["pipeline-variables"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/registry": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A repository's logins at registries
         * @description A repository's logins at registries. Needs a token.
         */
        get: operations["registry"];
        put?: never;
        /**
         * Set a login at a registry
         * @description Set a login at a registry. Needs a token.
         */
        post: operations["registry-set"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/registry/remove": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Remove a login at a registry
         * @description Remove a login at a registry. Needs a token.
         */
        post: operations["registry-remove"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/repository": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Registered repositories
         * @description Registered repositories. Needs a token.
         */
        get: operations["repository"];
        /**
         * Register or change a repository
         * @description Register or change a repository. Needs a token.
         */
        put: operations["repository-set"];
        post?: never;
        /**
         * Remove a repository
         * @description Remove a repository. Needs a token.
         */
        delete: operations["repository-remove"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/repository/deliveries": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The last deliveries of a webhook
         * @description The last deliveries of a webhook. Needs a token.
         */
        get: operations["repository-deliveries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/repository/deliveries/redeliver": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Process a delivery again
         * @description Process a delivery again. Needs a token.
         */
        post: operations["repository-deliveries-redeliver"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/repository/redeliver": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Allow webhooks to be delivered again
         * @description Allow webhooks to be delivered again. Needs a token.
         */
        post: operations["repository-redeliver"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/repository/run": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Start a pipeline of a branch
         * @description Start a pipeline of a branch. Needs a token.
         */
        post: operations["repository-run"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/repository/sync": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Read a repository's schedules again
         * @description Read a repository's schedules again. Needs a token.
         */
        post: operations["repository-sync"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/retention": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * How long executions are kept
         * @description How long executions are kept. Needs a token.
         */
        get: operations["retention"];
        put?: never;
        /**
         * Change how long executions are kept
         * @description Change how long executions are kept. Needs a token.
         */
        post: operations["retention-set"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/retention/run": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Remove what no rule keeps
         * @description Remove what no rule keeps. Needs a token.
         */
        post: operations["retention-run"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/retention/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What the stores use of the disk
         * @description By kind and by repository, measured at most once a minute. Deployments on AWS do not measure it: the reply has no `measured_at`. Needs a token.
         */
        get: operations["retention-usage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/role": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The rules that give roles
         * @description The rules that give roles. Needs a token.
         */
        get: operations["role"];
        put?: never;
        /**
         * Give a role
         * @description Give a role. Needs a token.
         */
        post: operations["role-set"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/role/remove": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Take a role back
         * @description Take a role back. Needs a token.
         */
        post: operations["role-remove"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/schedule": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Schedules
         * @description Schedules. Needs a token.
         */
        get: operations["schedule"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/schedule/run": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Start a schedule now
         * @description Start a schedule now. Needs a token.
         */
        post: operations["schedule-run"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/secret": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A repository's secrets, without values, and variables
         * @description A repository's secrets, without values, and variables. Needs a token.
         */
        get: operations["secret"];
        put?: never;
        /**
         * Set a secret or a variable
         * @description Set a secret or a variable. Needs a token.
         */
        post: operations["secret-set"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/secret/rekey": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Seal secrets under the newest key
         * @description Seal secrets under the newest key. Needs a token.
         */
        post: operations["secret-rekey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/secret/remove": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Remove a secret or a variable
         * @description Remove a secret or a variable. Needs a token.
         */
        post: operations["secret-remove"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Who the caller is, and how to sign in
         * @description Who the caller is, and how to sign in. Needs no token.
         */
        get: operations["session"];
        put?: never;
        post?: never;
        /**
         * Sign out
         * @description Sign out. Needs no token.
         */
        delete: operations["session-end"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/session/callback": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * End of a sign-in: redirects to a page
         * @description End of a sign-in: redirects to a page. Needs no token.
         */
        get: operations["session-callback"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/session/code": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * A code to sign in the command line
         * @description A code to sign in the command line. Needs no token.
         */
        post: operations["session-code"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/session/end/{sessionId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * End a session
         * @description End a session. Needs no token.
         */
        delete: operations["session-end-end-one"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/session/list": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The caller's sessions, or those of others
         * @description The caller's sessions, or those of others. Needs no token.
         */
        get: operations["session-list"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/session/login": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Begin to sign in: redirects to the provider
         * @description Begin to sign in: redirects to the provider. Needs no token.
         */
        get: operations["session-login"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/session/token": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Exchange such a code for a token
         * @description Exchange such a code for a token. Needs no token.
         */
        post: operations["session-token"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/source/content/{uploadId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * The bytes of uploaded sources
         * @description The bytes of uploaded sources. Needs a token.
         */
        put: operations["source-content"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/source/download/{uploadId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The stored bytes of uploaded sources
         * @description The stored bytes of uploaded sources. Needs a token.
         */
        get: operations["source-download"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/source/upload": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Announce sources, or check whether they exist
         * @description Announce sources, or check whether they exist. Needs a token.
         */
        post: operations["source-upload"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/token": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Tokens
         * @description Tokens. Needs a token.
         */
        get: operations["token"];
        put?: never;
        /**
         * Create a token
         * @description Create a token. Needs a token.
         */
        post: operations["token-create"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/token/{tokenId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Revoke a token
         * @description Revoke a token. Needs a token.
         */
        delete: operations["token-revoke"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/webhook/{provider}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Receive a signed webhook of a git provider
         * @description Receive a signed webhook of a git provider. Needs no token.
         */
        post: operations["webhook"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/worker/drain": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Drain workers
         * @description Drain workers. Needs a token.
         */
        post: operations["worker-drain"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/worker/program/{sha256}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The program that workers run
         * @description The program that workers run. Needs a token.
         */
        get: operations["worker-program"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/worker/remove": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Remove workers from the list
         * @description Remove workers from the list. Needs a token.
         */
        post: operations["worker-remove"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/worker/report": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Report that a worker is there
         * @description Report that a worker is there. Needs a token.
         */
        post: operations["worker-report"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/workers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Workers
         * @description Workers. Needs a token.
         */
        get: operations["workers"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description A remark of a job on a place in the sources. The order of annotations is by severity, file and line. */
        Annotation: {
            /**
             * Format: uint32
             * @description The column of the line, from 1.
             */
            column?: number | null;
            /**
             * Format: uint32
             * @description The column at which it ends.
             */
            end_column?: number | null;
            /**
             * Format: uint32
             * @description The last line, if it is not `line`.
             */
            end_line?: number | null;
            /** @description How severe it is. */
            level: components["schemas"]["AnnotationLevel"];
            /**
             * Format: uint32
             * @description The line of the file, from 1.
             */
            line?: number | null;
            /** @description The message. */
            message: string;
            /** @description The file, relative to the sources. */
            path?: string | null;
            /** @description A short title, such as the name of a rule. */
            title?: string | null;
        };
        /** @description Number of annotations by level. */
        AnnotationCounts: {
            /**
             * Format: uint64
             * @description Number of failures.
             */
            failures: number;
            /**
             * Format: uint64
             * @description Number of those that are omitted, since a job or the execution has too many.
             */
            left_out: number;
            /**
             * Format: uint64
             * @description Number of notices.
             */
            notices: number;
            /**
             * Format: uint64
             * @description Number of warnings.
             */
            warnings: number;
        };
        /** @description How severe an annotation is, the most severe first. */
        AnnotationLevel: "failure" | "warning" | "notice";
        /** @description State of a required approval. */
        Approval: "awaited" | "given";
        /**
         * @description Which pull requests need an approval before any of their jobs run. It is part of the registration and not of a file,
         *     so that no commit can change it.
         */
        ApprovalPolicy: "none" | "forks" | "all";
        /** @description The approvals of a job whose environment is protected. */
        ApprovalProgress: {
            /**
             * @description The approvals that were given.
             * @default []
             */
            given?: components["schemas"]["ApprovalView"][];
            /**
             * @description What the rules require; empty once the job is approved.
             * @default []
             */
            required?: components["schemas"]["RequiredApprovals"][];
        };
        /** @description An approval, as shown to users. */
        ApprovalView: {
            /** @description When. */
            at: components["schemas"]["Timestamp"];
            /** @description Name of who gave it. */
            name: string;
        };
        /** @description The reply to an approval. */
        ApproveReply: {
            /** @description Whether this request changed anything (false: it was already approved). */
            approved: boolean;
            /**
             * Format: uint32
             * @description How many approvals are still missing; 0: nothing waits for one any more.
             */
            missing?: number;
        };
        /** @description Where the stored bytes of an artifact are. */
        ArtifactAddress: {
            /** @description An address for a GET without a token, for some minutes. */
            url: string;
        };
        /** @description The result of an upload. */
        ArtifactComplete: {
            /** @description Id from the first reply. */
            artifact_id: components["schemas"]["ArtifactId"];
            /**
             * @description Their encoding.
             * @default identity
             */
            encoding?: components["schemas"]["ArtifactEncoding"];
            /** @description Their SHA-256, in hex. */
            sha256: string;
            /**
             * Format: uint64
             * @description Number of uploaded bytes.
             */
            size: number;
            /**
             * Format: uint64
             * @description Number of bytes of the tar before it was compressed.
             * @default 0
             */
            unpacked_size?: number;
        };
        /** @description How the tar of an artifact is stored. */
        ArtifactEncoding: "identity" | "zstd" | "unknown";
        /** @description One file in an artifact. */
        ArtifactFile: {
            /** @description Path relative to the workspace. */
            path: string;
            /**
             * Format: uint64
             * @description Size in bytes.
             */
            size: number;
        };
        /**
         * Format: uuid
         * @description A set of files that a job uploaded.
         */
        ArtifactId: string;
        /** @description An address of the files of an artifact. */
        ArtifactLink: {
            /** @description Until when it is valid. */
            expires_at: components["schemas"]["Timestamp"];
            /** @description Path below the server's address, with a ticket in it; a file's path follows. */
            path: string;
        };
        /** @description Artifacts of an execution. */
        ArtifactList: {
            /** @description In the order of the jobs. */
            artifacts: components["schemas"]["ArtifactView"][];
        };
        /** @description An artifact to extract into a job's workspace before its script runs. */
        ArtifactSource: {
            /** @description The artifact. */
            artifact_id: components["schemas"]["ArtifactId"];
            /**
             * @description How the tar is stored.
             * @default identity
             */
            encoding?: components["schemas"]["ArtifactEncoding"];
            /** @description The job that produced it. */
            from_job: string;
            /** @description For an image that the job built: its id. It is loaded into the engine instead. */
            image?: string | null;
            /** @description SHA-256 of the stored object, in hex. */
            sha256: string;
            /**
             * Format: uint64
             * @description Size of the stored object in bytes.
             */
            size: number;
            /**
             * Format: uint64
             * @description Number of bytes of the tar before it was compressed.
             * @default 0
             */
            unpacked_size?: number;
            /** @description Where to GET it: an absolute URL, or a path on the API server (which then requires the API token). */
            url: string;
        };
        /** @description The upload address of an artifact. */
        ArtifactUploadReply: {
            /** @description Its id. */
            artifact_id: components["schemas"]["ArtifactId"];
            /** @description Headers that the PUT must contain. */
            headers?: {
                [key: string]: string;
            };
            /**
             * @description Address for a PUT: absolute, or a path on the API server (which then requires the API token). Absent if the
             *     artifact is complete, or if `sum` is required: repeat the request with it.
             */
            url?: string | null;
        };
        /** @description Announces an artifact; the reply contains the upload address. */
        ArtifactUploadRequest: {
            /** @description Makes this a cache instead of an artifact, stored under this key for later jobs of the repository. */
            cache_key?: string | null;
            /**
             * @description Absent in the first request. In the second, after the bytes were uploaded: what was uploaded. The artifact is
             *     recorded only then.
             * @default null
             */
            complete?: components["schemas"]["ArtifactComplete"] | null;
            /**
             * Format: uint64
             * @description Seconds after which it may be deleted.
             * @default null
             */
            expire_in_s?: number | null;
            /** @description The title under which it is shown with the execution. */
            expose_as?: string | null;
            /** @description The declared paths, separated by commas. */
            file_path: string;
            /** @description Files in it with their sizes; at most 10,000 are listed. */
            files: components["schemas"]["ArtifactFile"][];
            /**
             * @description Makes this the image with this id that the attempt built, for the jobs that run in it. It is stored beside the attempt's
             *     artifact, and not listed.
             */
            image?: string | null;
            /** @description The job. */
            job_id: components["schemas"]["JobId"];
            /** @description The attempt's lease. */
            lease: components["schemas"]["LeaseToken"];
            /** @description The name that the job gives it. */
            name?: string | null;
            /**
             * @description Checksum of the bytes, if known before they are sent. Required by servers whose store accepts only announced
             *     bytes.
             */
            sum?: components["schemas"]["ContentChecksum"] | null;
        };
        /** @description An artifact as shown to users. */
        ArtifactView: {
            /** @description How the tar is stored. */
            encoding: components["schemas"]["ArtifactEncoding"];
            /** @description When it may be deleted. */
            expires_at?: components["schemas"]["Timestamp"] | null;
            /** @description The title under which it is shown with the execution. */
            expose_as?: string | null;
            /** @description Declared paths. */
            file_path: string;
            /** @description Files in it. */
            files: components["schemas"]["ArtifactFile"][];
            /** @description Its id. */
            id: components["schemas"]["ArtifactId"];
            /** @description The job that produced it. */
            job_execution_id: components["schemas"]["JobId"];
            /** @description That job's name. */
            job_name: string;
            /** @description The name that the job gives it. */
            name?: string | null;
            /** @description SHA-256 of the stored object, in hex. */
            sha256: string;
            /**
             * Format: uint64
             * @description Size of the stored object in bytes.
             */
            size: number;
            /**
             * Format: uint64
             * @description Number of bytes of the tar before it was compressed.
             * @default 0
             */
            unpacked_size?: number;
            /** @description When it was stored. */
            uploaded_at: components["schemas"]["Timestamp"];
        };
        /** @description Files that are stored after a job, for later jobs and for download. */
        Artifacts: {
            /** @description Globs of files that are not stored although they match. */
            exclude?: string[];
            /**
             * Format: uint64
             * @description How long they are kept, in seconds. `None`: as long as the server keeps the execution.
             * @default null
             */
            expire_in_s?: number | null;
            /** @description A title under which they are shown with the execution. */
            expose_as?: string | null;
            /** @description The name to show. May hold `${NAME}` references, also to variables that only a job has. */
            name?: string | null;
            /** @description Globs relative to the sources; never absolute, never climbing out. */
            paths: string[];
            /** @description Reports that are parsed. */
            reports?: components["schemas"]["Reports"];
            /** @description Whether all files that are not part of the sources are stored, too. */
            untracked?: boolean;
            /**
             * @description After which outcomes of the job they are stored.
             * @default on_success
             */
            when?: components["schemas"]["ArtifactsWhen"];
        };
        /** @description After which outcomes of a job its artifacts are stored. */
        ArtifactsWhen: "on_success" | "on_failure" | "always";
        /** @description One attempt of a job, assigned to one worker under a lease. */
        Assignment: {
            /** @description The artifacts to upload. */
            artifacts?: components["schemas"]["Artifacts"] | null;
            /**
             * Format: uint32
             * @description The attempt's number, from 1.
             */
            attempt: number;
            /** @description Everything besides the script. */
            extras?: components["schemas"]["JobExtras"];
            /** @description Job name, including matrix values. */
            job_name: string;
            /** @description The lease. */
            lease: components["schemas"]["LeaseGrant"];
            /**
             * @description The artifacts to extract.
             * @default []
             */
            needs_artifacts?: components["schemas"]["ArtifactSource"][];
            /** @description The data for the preparation, repeated. */
            preparation: components["schemas"]["Preparation"];
            /** @description Commands, run in order in one shell. */
            script: string[];
            /** @description Its stage. */
            stage: string;
            /**
             * Format: uint64
             * @description Time limit of the script, in seconds.
             */
            timeout_s: number;
            /** @description The trace that the execution belongs to, as a `traceparent` header value. */
            trace?: string | null;
            /** @description Variables of pipeline, job and matrix, and the predefined ones. */
            variables: {
                [key: string]: string;
            };
        };
        /** @description The outcome of an attempt. */
        AttemptEnd: {
            /**
             * Format: int32
             * @description Exit code of the script, if it ended.
             */
            exit_code?: number | null;
            /** @description The failure; `None`: success. */
            failure?: components["schemas"]["FailureReason"] | null;
            /** @description Variables for the jobs that need this one. */
            outputs?: {
                [key: string]: string;
            };
        };
        /** @description One finished attempt. */
        AttemptView: {
            /**
             * Format: uint32
             * @description Number, from 1.
             */
            attempt: number;
            /** @description When it ended. */
            ended_at: components["schemas"]["Timestamp"];
            /**
             * Format: int32
             * @description Exit code, if the script ended.
             */
            exit_code?: number | null;
            /** @description Why it did not succeed. */
            failure?: components["schemas"]["FailureReason"] | null;
            /** @description When the worker claimed it. */
            started_at: components["schemas"]["Timestamp"];
            /** @description Name of the worker. */
            worker?: string | null;
        };
        /** @description An entry of the audit log. */
        AuditEntry: {
            /** @description The action: `execution.start`, `token.revoke`, ... */
            action: string;
            /** @description The time. */
            at: components["schemas"]["Timestamp"];
            /** @description The client's address, if known. */
            from?: string | null;
            /** @description The result, such as `done`. */
            outcome: string;
            /** @description The repository. */
            repo?: string | null;
            /** @description The target of the action: an id or a name. */
            target: string;
            /** @description Id of the token: a UUID, or `bootstrap` for a token of the deployment itself; of a person: the provider and their id there. */
            token: string;
            /** @description Name of the token. */
            who: string;
        };
        /** @description A page of the audit log, newest first. */
        AuditList: {
            /** @description The page. With filters it may be short or even empty although more pages follow. */
            entries: components["schemas"]["AuditEntry"][];
            /** @description Value of `cursor` for the next page; absent on the last page. */
            next_cursor?: string | null;
        };
        /** @description An execution that waits for an approval. */
        AwaitedApproval: {
            /** @description Whether the caller may approve executions of its repository. */
            caller_may_run?: boolean;
            /** @description The execution. */
            execution: components["schemas"]["ExecutionSummary"];
            /** @description The manual jobs that can be approved; empty: the execution as a whole waits. */
            jobs: components["schemas"]["AwaitedJob"][];
        };
        /** @description A job that waits for an approval. */
        AwaitedJob: {
            /** @description Who approved it, and what is missing, if its environment is protected. */
            approvals?: components["schemas"]["ApprovalProgress"] | null;
            /** @description What an approval by the caller would be. */
            caller_approval?: components["schemas"]["CallerApproval"] | null;
            /** @description Its name. */
            name: string;
        };
        /** @description The key of a repository's badges. Who knows it sees the state of the default branch. */
        BadgeReply: {
            /** @description The key. */
            key: string;
        };
        /** @description Names a repository whose default branch has a badge. */
        BadgeRequest: {
            /** @description The repository. */
            repo: string;
        };
        /** @description Files that are kept between executions, as far as they are still there: a miss is no failure. */
        Cache: {
            /**
             * @description Keys to try, in order, when there is no cache under the key.
             * @default []
             */
            fallback_keys?: string[];
            /** @description The key's text. May hold `${branch}`, `${job}` and `${NAME}` references; with `key_files` it is the prefix. */
            key: string;
            /**
             * @description Files of the sources whose content is part of the key.
             * @default []
             */
            key_files?: string[];
            /** @description Paths and globs, relative to the sources. */
            paths: string[];
            /**
             * @description Whether it is downloaded before the script, uploaded after it, or both.
             * @default pull-push
             */
            policy?: components["schemas"]["CachePolicy"];
            /** @description The reference, `${NAME}`, whose value is the policy instead; not in a plan. */
            policy_reference?: string | null;
            /**
             * @description After which outcomes of the job it is uploaded.
             * @default on_success
             */
            when?: components["schemas"]["ArtifactsWhen"];
        };
        /** @description A stored cache. */
        CacheHit: {
            /** @description Its key. */
            key: string;
            /** @description Where to download it: a tar, like artifacts. */
            source: components["schemas"]["ArtifactSource"];
        };
        /** @description The result of a cache lookup. */
        CacheLookupReply: {
            /** @description The cache; absent: none is stored under any of the keys. */
            found?: components["schemas"]["CacheHit"] | null;
        };
        /** @description Requests a cache. */
        CacheLookupRequest: {
            /** @description The job. */
            job_id: components["schemas"]["JobId"];
            /** @description Keys; the first with a stored cache is used. */
            keys: string[];
            /** @description The attempt's lease. */
            lease: components["schemas"]["LeaseToken"];
        };
        /** @description What a job does with a cache. */
        CachePolicy: "pull-push" | "pull" | "push";
        /** @description What an approval by the caller would be. */
        CallerApproval: "counts" | "given" | "not_approver" | "starter" | "too_many";
        /** @description The caller of a request. */
        CallerView: {
            /** @description The person's groups, as of the last sign-in. */
            groups?: string[];
            /** @description Name of the person or of the token. */
            name: string;
            /** @description The names by which rules of roles can select the person. */
            names?: string[];
            /** @description The person's id, with its provider; absent for tokens of machines. */
            person?: string | null;
            /** @description The only repository of the token. */
            repo?: string | null;
            /** @description The person's roles. */
            roles?: components["schemas"]["RoleGrant"][];
            /** @description The scopes of the token, or the highest one of the person's roles. */
            scopes: components["schemas"]["Scope"][];
            /**
             * Format: uuid
             * @description Id of the session, if the caller is a browser that is signed in.
             */
            session?: string | null;
        };
        /** @description The reply to a cancel request. */
        CancelReply: {
            /** @description Whether this request changed anything (false: it had ended, or was already canceled). */
            canceled: boolean;
            /** @description The status at the time of the reply. */
            status: string;
        };
        /** @description How the sources of a job are checked out. */
        Checkout: {
            /** @description Whether uncommitted changes and untracked files of a working tree are left out. */
            clean?: boolean;
            /** @description What the workspace starts with. */
            content?: components["schemas"]["CheckoutContent"];
            /**
             * Format: uint32
             * @description How many commits of history the repository has; 0: all of them. `None`: 50, and more where the nearest tag or
             *     the base of the branch is further away.
             */
            depth?: number | null;
            /** @description Whether files that Git LFS keeps elsewhere stay the pointers that the commit holds. */
            lfs_pointers?: boolean;
            /** @description Whether the job may push to its repository, with the credential that the server has for it. */
            push?: boolean;
            /** @description Which submodules are checked out. */
            submodules?: components["schemas"]["Submodules"];
            /** @description Whether all tags are there, or none. `None`: those that the history leads to. */
            tags?: boolean | null;
        };
        /** @description What a workspace starts with. */
        CheckoutContent: "files" | "repository" | "nothing";
        /** @description The refs that a job's repository has besides its branch. */
        CheckoutRefs: {
            /** @description The repository's default branch. */
            default_branch?: string | null;
            /** @description The tag that the execution is for. */
            tag?: string | null;
            /** @description The branch that the pull request targets. */
            target_branch?: string | null;
        };
        /** @description Files of GitLab that a child pipeline includes, as an item of GitLab's `include`. Texts may hold `${NAME}` references. */
        ChildInclude: {
            /** @description The values of their inputs. */
            inputs?: {
                [key: string]: string;
            };
        } & ({
            /** @constant */
            kind: "local";
            /** @description The path. */
            path: string;
        } | {
            /** @description The paths of the files. */
            files: string[];
            /** @constant */
            kind: "project";
            /** @description The path of the project on its server. */
            project: string;
            /** @description A branch, a tag or the full hash of a commit. `None`: the default branch. */
            reference?: string | null;
        } | {
            /** @description `sha256-` and the hash that the content must have, in Base64. */
            integrity?: string | null;
            /** @constant */
            kind: "remote";
            /** @description The address. */
            url: string;
        } | {
            /** @constant */
            kind: "template";
            /** @description The path in the directory. */
            name: string;
        } | {
            /** @description Its address with the version. */
            address: string;
            /** @constant */
            kind: "component";
        } | {
            /** @description The job. */
            job: string;
            /** @constant */
            kind: "artifact";
            /** @description The path. */
            path: string;
        });
        /** @description A pipeline that a job starts instead of running a script. The execution of it is a child of the job's execution. */
        ChildPipeline: {
            /** @description The job whose artifacts have the file of `files`. `None`: it is in the sources. */
            artifact_of?: string | null;
            /** @description The branch of the other repository. `None`: its default branch. */
            branch?: string | null;
            /** @description The paths of its files. Several are files of GitLab, read as if one file included them. */
            files: string[];
            /** @description Whether the child gets the variables that the file sets for the job. */
            forwards_job?: boolean;
            /** @description Whether the child gets the variables that the job's execution was started with. */
            forwards_run?: boolean;
            /** @description Files of GitLab, from anywhere, that are read as if one file included them; `files` is empty then. */
            includes?: components["schemas"]["ChildInclude"][];
            /** @description Inputs of the files of GitLab. Values may hold `${NAME}` references. */
            inputs?: {
                [key: string]: string;
            };
            /** @description Whether they are files of GitLab. */
            is_gitlab?: boolean;
            /**
             * @description The other repository whose pipeline starts: its name on the server, or its path on the server of this repository's git. `None`:
             *     this one.
             */
            repository?: string | null;
            /** @description Variables of the child. Values may hold `${NAME}` references, also to variables that only the running job has. */
            variables?: {
                [key: string]: string;
            };
            /** @description Whether the jobs that wait for the job, and its execution, wait for the end of the child and depend on its outcome. */
            waits?: boolean;
        };
        /** @description The reply to a report of a child. */
        ChildReply: {
            /**
             * @description The started execution; absent: nothing was started, and the job fails.
             * @default null
             */
            execution?: components["schemas"]["ExecutionId"] | null;
            /** @description Lines for the job's log: what was started, or why nothing was. */
            lines: string[];
        };
        /** @description The pipeline that a worker read. */
        ChildReport: {
            /** @description Paths that changed since the refs that its conditions compare with; null: there is no such ref. */
            compared?: {
                [key: string]: string[] | null;
            };
            /** @description The files from elsewhere that it includes, with their versions. */
            includes?: components["schemas"]["PinnedInclude"][];
            /** @description The job that starts it. */
            job_id: components["schemas"]["JobId"];
            /** @description The job's lease. */
            lease: components["schemas"]["LeaseToken"];
            /** @description Path of the file, or of the first one. */
            path: string;
            /**
             * @description Paths of all files of the sources; absent if there are too many.
             * @default null
             */
            paths?: string[] | null;
            /** @description The native text, with includes resolved. */
            text: string;
        };
        /** @description The pipeline that a job starts, for its worker. */
        ChildRequest: {
            /** @description The variables that are set outside of the files, which the translation of a GitLab file needs. */
            external?: components["schemas"]["ExternalVariables"];
            /**
             * @description Whether a job made the file that names the pipeline, or one above it. Then files of it include nothing with the credentials of a
             *     user.
             */
            is_of_artifact?: boolean;
            /** @description The name of the pipeline of a GitLab file that has none. */
            name: string;
            /** @description The pipeline, with references substituted. */
            pipeline: components["schemas"]["ChildPipeline"];
        };
        /** @description An execution that a job started, as shown with the job. */
        ChildView: {
            /** @description Whether the job's dependents and its execution wait for its end. */
            awaited?: boolean;
            /** @description Its id. */
            execution_id: components["schemas"]["ExecutionId"];
            /** @description The pipeline's name. */
            pipeline_name: string;
            /**
             * Format: uint64
             * @description Number within repository and pipeline, from 1.
             */
            run_number: number;
            /** @description Status. */
            status: components["schemas"]["ExecutionStatus"];
        };
        /** @description Exchanges a code for a personal token. */
        CodeExchange: {
            /** @description The code. */
            code: string;
            /** @description Name of the machine, for the list of tokens: no control characters. */
            machine: string;
            /** @description The text of which the challenge is the SHA-256. */
            verifier: string;
        };
        /** @description The reply with a code, which is valid for two minutes and once. */
        CodeReply: {
            /** @description The code. */
            code: string;
        };
        /** @description Asks for a code with which the command line gets a token of the person who is signed in. */
        CodeRequest: {
            /** @description SHA-256, in base64url, of the verifier that only the command line knows. */
            challenge: string;
        };
        /** @description What is known of a commit besides its hash. */
        CommitDetails: {
            /** @description Its author, as `Name <address>`. */
            author?: string | null;
            /** @description Whether the sources have uncommitted changes on top of it. */
            dirty?: boolean;
            /** @description Its message. */
            message?: string | null;
        };
        /** @description What a job or a service asks of its container beyond an ordinary one. A worker decides what it allows. */
        ContainerOptions: {
            /** @description Capabilities without the prefix `CAP_`, or `ALL`. */
            cap_add?: string[];
            /** @description Devices of the worker's machine. */
            devices?: components["schemas"]["Device"][];
            /** @description DNS servers. */
            dns?: string[];
            /** @description Addresses of host names: an IP address, or `host-gateway`. */
            extra_hosts?: {
                [key: string]: string;
            };
            /** @description GPUs of the worker's machine. */
            gpus?: components["schemas"]["Gpus"] | null;
            /** @description The network: `none`, `host`, `bridge`, or one that exists in the engine. */
            network?: string | null;
            /** @description Whether it has all rights of the machine's root. */
            privileged?: boolean;
            /**
             * Format: uint64
             * @description Bytes of memory in `/dev/shm`.
             */
            shm_bytes?: number | null;
            /** @description Directories in memory, by their paths, with their sizes in bytes. */
            tmpfs?: {
                [key: string]: number | null;
            };
            /** @description Limits of processes, by the names of setrlimit(2) in lower case. */
            ulimits?: {
                [key: string]: components["schemas"]["Ulimit"];
            };
        };
        /** @description Size and hash of the content. */
        ContentChecksum: {
            /** @description SHA-256: 64 lowercase hex digits. */
            sha256: string;
            /**
             * Format: uint64
             * @description Number of bytes.
             */
            size: number;
        };
        /** @description Numbers and times of executions or jobs. Times are within a sixteenth of the exact ones. */
        CountsView: {
            /**
             * Format: uint32
             * @description Those that were canceled.
             */
            canceled: number;
            /**
             * Format: uint32
             * @description All that ended.
             */
            count: number;
            /**
             * Format: uint32
             * @description Those that failed.
             */
            failed: number;
            /**
             * Format: uint64
             * @description Median of the times from start to end, without canceled ones.
             */
            median_ms?: number | null;
            /**
             * Format: uint64
             * @description The time that 95 of 100 do not exceed.
             */
            p95_ms?: number | null;
            /**
             * Format: uint64
             * @description Median of the times until the start.
             */
            queue_median_ms?: number | null;
            /**
             * Format: uint64
             * @description The time until the start that 95 of 100 do not exceed.
             */
            queue_p95_ms?: number | null;
            /**
             * Format: uint32
             * @description Attempts after the first one.
             */
            retries: number;
            /**
             * Format: uint32
             * @description Those that succeeded.
             */
            succeeded: number;
        };
        /** @description A change of a repository's credential. */
        CredentialChange: {
            set: components["schemas"]["RepositoryCredential"];
        } | "remove";
        /** @description The kind of a credential. */
        CredentialKind: "token" | "ssh_key";
        /** @description A credential without its value. */
        CredentialView: {
            /** @description Whether jobs with `checkout: { push: true }` get it. */
            allow_push: boolean;
            /** @description Its kind. */
            kind: components["schemas"]["CredentialKind"];
        };
        /** @description The line coverage of a day, in percent: that of the last execution of the default branch, or else of the last one. */
        DayCoverage: {
            /** @description Beginning of the day (UTC). */
            day: components["schemas"]["Timestamp"];
            /**
             * Format: double
             * @description The mean of its jobs that succeeded and have a coverage.
             */
            percent: number;
        };
        /** @description Statistics of a day. */
        DayInsight: {
            /** @description Executions that ended on it. */
            counts: components["schemas"]["CountsView"];
            /** @description Beginning of the day (UTC). */
            day: components["schemas"]["Timestamp"];
        };
        /** @description A page of dead letters, newest first. */
        DeadLetterList: {
            /** @description The page. */
            dead_letters: components["schemas"]["DeadLetterView"][];
            /** @description Value of `cursor` for the next page; absent on the last page. */
            next_cursor?: string | null;
        };
        /** @description A job that ended for a reason that was not its own: its workers were lost too often, or none could take it. */
        DeadLetterView: {
            /** @description Its execution. */
            execution: components["schemas"]["ExecutionSummary"];
            /** @description The job with its attempts. */
            job: components["schemas"]["JobView"];
        };
        /** @description The last deliveries of a repository, newest first. */
        DeliveryList: {
            /** @description The last 20 whose signature was valid; each is kept for 7 days. */
            deliveries: components["schemas"]["DeliveryView"][];
            /** @description Those whose signature was missing or wrong, of which nothing else is kept. */
            rejected: components["schemas"]["RejectedDeliveries"];
            /** @description The repository's name. */
            repository: string;
        };
        /** @description What came of a delivery. */
        DeliveryOutcome: "started" | "skipped" | "refused" | "failed";
        /** @description A delivery of a webhook. */
        DeliveryView: {
            /** @description What happened, as the provider names it, such as `opened`. */
            action?: string | null;
            /**
             * Format: uint64
             * @description Size of its body in bytes.
             */
            bytes: number;
            /** @description Whether its body is kept, so that it can be redelivered. */
            can_redeliver: boolean;
            /** @description Its id at the provider, if it has one. */
            delivery_id?: string | null;
            /** @description The event, as the provider names it. */
            event?: string | null;
            /** @description The discoveries that it started. */
            executions?: components["schemas"]["ExecutionId"][];
            /** @description Its id on this server. */
            id: string;
            /** @description One line for each event, with what Tidemill did about it, or the error. */
            lines: string[];
            /** @description What came of it. */
            outcome: components["schemas"]["DeliveryOutcome"];
            /** @description The provider. */
            provider: components["schemas"]["Provider"];
            /** @description When it was received. */
            received_at: components["schemas"]["Timestamp"];
            /** @description The delivery that it repeats, if someone redelivered it here. */
            redelivery_of?: string | null;
        };
        /** @description A job that deployed to an environment, or stopped it. */
        Deployment: {
            /** @description `start`: it deployed; `stop`: it stopped the environment. */
            action: components["schemas"]["EnvironmentAction"];
            /**
             * Format: uint32
             * @description The attempt.
             */
            attempt: number;
            /**
             * Format: uint64
             * @description How long after the deployment the environment is stopped, in seconds.
             */
            auto_stop_in_s?: number | null;
            /** @description Branch. */
            branch?: string | null;
            /** @description Commit. */
            commit?: string | null;
            /** @description When the job ended. */
            end_time?: components["schemas"]["Timestamp"] | null;
            /** @description Its execution. */
            execution_id: components["schemas"]["ExecutionId"];
            /** @description The job. */
            job_id: components["schemas"]["JobId"];
            /** @description Its name, with matrix values. */
            job_name: string;
            /** @description The job that stops the environment, by its name in the file. */
            on_stop?: string | null;
            /** @description The pipeline's name. */
            pipeline_name: string;
            /** @description The user who requested the execution. */
            requested_by?: string | null;
            /**
             * Format: uint64
             * @description The execution's number within repository and pipeline.
             */
            run_number: number;
            /** @description When the first attempt started. */
            start_time: components["schemas"]["Timestamp"];
            /** @description `RUNNING`, also between two attempts, or how the job ended. */
            status: components["schemas"]["JobStatus"];
            /** @description Tag. */
            tag?: string | null;
            /** @description What started the execution. */
            trigger: components["schemas"]["Trigger"];
            /** @description Whether the sources were a working tree with changes that `commit` does not have. */
            uncommitted?: boolean;
            /** @description The URL of the environment. */
            url?: string | null;
        };
        /** @description What an environment is for. */
        DeploymentTier: "production" | "staging" | "testing" | "development" | "other";
        /** @description A device of the worker's machine. */
        Device: {
            /** @description Its path in the container. */
            container: string;
            /** @description Its path on the machine. */
            host: string;
            /** @description What the container may do with it: some of `r`, `w` and `m`. */
            permissions: string;
        };
        /**
         * @description What to find out about the commit of the assignment's source. An empty commit stands for the one that `fetch_ref`
         *     points to; an abbreviated one must be the one that `fetch_ref` points to.
         */
        Discovery: {
            /**
             * @description The commit that changes are computed from. Absent: the merge base with `target_branch`; without that, changes
             *     are unknown.
             */
            before?: string | null;
            /** @description Whether the commit starts nothing if its message has `[skip ci]` or `[ci skip]`. */
            can_skip?: boolean;
            /**
             * @description The variables that are set outside of the files, which the translation of a GitLab file needs. Not recorded: the assignment
             *     has those of its time.
             */
            external?: components["schemas"]["ExternalVariables"];
            /** @description A ref to fetch if the commit is not reachable from a branch: the head of a pull request. */
            fetch_ref?: string | null;
            /** @description The values of the inputs of a GitLab file. */
            inputs?: {
                [key: string]: string;
            };
            /** @description Only these files; empty: all below `.pipelines/`, and `.gitlab-ci.yml`. */
            only?: string[];
            /** @description Only the pipelines in these files start, and others are read for what follows them; empty: all whose triggers match. */
            start_only?: string[];
            /** @description Whether one pipeline starts, as the child of the discovery, which a job of another repository started. */
            starts_child?: boolean;
            /** @description The target branch of a pull request. */
            target_branch?: string | null;
        };
        /** @description The reply to a discovery report. */
        DiscoveryReply: {
            /**
             * @description Whether a file is invalid, so that the discovery job fails.
             * @default false
             */
            failed?: boolean;
            /** @description Lines for the job's log: which pipelines start, which do not, and why. */
            lines: string[];
        };
        /** @description The result of a discovery. */
        DiscoveryReport: {
            /**
             * @description Paths that the commit changed; absent if unknown or too many.
             * @default null
             */
            changed?: string[] | null;
            /** @description The full hash of the commit. */
            commit: string;
            /** @description Paths that changed since the refs that conditions of the files compare with; null: there is no such ref. */
            compared?: {
                [key: string]: string[] | null;
            };
            /**
             * @description What is known of the commit.
             * @default {}
             */
            details?: components["schemas"]["CommitDetails"];
            /** @description Pipeline files, by path; at most [`MAX_PIPELINE_FILES`]. */
            files: components["schemas"]["PipelineFile"][];
            /**
             * @description Whether files were left out because they have errors, which the job's log shows. Nothing follows from their absence.
             * @default false
             */
            incomplete?: boolean;
            /** @description The discovery job. */
            job_id: components["schemas"]["JobId"];
            /** @description Its lease. */
            lease: components["schemas"]["LeaseToken"];
            /**
             * @description Paths of all files at the commit; absent if too many.
             * @default null
             */
            paths?: string[] | null;
            /**
             * @description Whether the commit's message asks that the push starts nothing. Then no file was read, and nothing follows from their absence.
             * @default false
             */
            skipped?: boolean;
        };
        /** @description What the stores of a server use of its disk. */
        DiskUsage: {
            /**
             * Format: uint64
             * @description Bytes of artifacts; files of the same content count once.
             */
            artifact_bytes: number;
            /**
             * Format: uint64
             * @description Bytes of caches; files of the same content count once.
             */
            cache_bytes: number;
            /**
             * Format: uint64
             * @description Free bytes of the disk.
             */
            free_bytes: number;
            /**
             * Format: uint64
             * @description Bytes of logs and summaries.
             */
            log_bytes: number;
            /** @description When it was measured; absent: this deployment does not measure it, and everything else is zero. */
            measured_at?: components["schemas"]["Timestamp"] | null;
            /**
             * Format: uint64
             * @description Bytes of other files: unfinished uploads, programs of workers, and the reserve for the records.
             */
            other_bytes: number;
            /** @description Whether there were too many files to count all of them in time. */
            partial: boolean;
            /**
             * Format: uint64
             * @description Bytes of the database of records.
             */
            record_bytes: number;
            /** @description The repositories that use the most, the largest first. */
            repositories: components["schemas"]["RepositoryUsage"][];
            /**
             * Format: uint64
             * @description Number of repositories that are not listed.
             */
            unlisted_repositories: number;
            /**
             * Format: uint64
             * @description Bytes of uploaded sources.
             */
            upload_bytes: number;
        };
        /** @description The reply to a dismissal. */
        DismissReply: {
            /** @description Whether the job was a dead letter. */
            dismissed: boolean;
        };
        /** @description The reply to a [`DrainWorkersRequest`]. */
        DrainWorkersReply: {
            /** @description The workers that drain, which they know at their next report. */
            workers: components["schemas"]["WorkerView"][];
        };
        /** @description Asks workers to drain. */
        DrainWorkersRequest: {
            /** @description Name or id of a worker. All workers with this name drain. */
            worker: string;
        };
        /** @description The reply to the end of a session. */
        EndSessionReply: {
            /** @description Whether there was such a session. */
            ended: boolean;
        };
        /** @description The environment of a job: where it deploys to, or what it stops. */
        Environment: {
            /** @description What the job does with it. */
            action?: components["schemas"]["EnvironmentAction"];
            /** @description A text with references, whose value is `auto_stop_in` instead; not in a plan. */
            auto_stop_in_reference?: string | null;
            /**
             * Format: uint64
             * @description How long after the deployment it is stopped, in seconds.
             */
            auto_stop_in_s?: number | null;
            /** @description Its name; chooses among the repository's secrets. May hold `${NAME}` references. */
            name: string;
            /** @description The job that stops it, by its name in the file. */
            on_stop?: string | null;
            /** @description What it is for. `None`: derived from its name. */
            tier?: components["schemas"]["DeploymentTier"] | null;
            /**
             * @description Its URL.
             * @default null
             */
            url?: string | null;
        };
        /** @description What a job does with its environment. */
        EnvironmentAction: "start" | "stop" | "prepare" | "verify" | "access";
        /** @description A page of environments, ordered by name. */
        EnvironmentList: {
            /** @description The page. */
            environments: components["schemas"]["EnvironmentView"][];
            /** @description Value of `cursor` for the next page; absent on the last page. */
            next_cursor?: string | null;
        };
        /** @description A rule that protects environments. */
        EnvironmentProtection: {
            /**
             * Format: uint32
             * @description How many people must approve a job.
             */
            approvals: number;
            /** @description Who may approve. */
            by: string[];
            /** @description Name of the environment; `*` stands for any characters. */
            environment: string;
            /** @description Whether the approval of who started the execution does not count. */
            exclude_starter: boolean;
            /** @description Name of the repository. */
            repo: string;
            /** @description When it was set. */
            set_at: components["schemas"]["Timestamp"];
            /** @description Name of who set it. */
            set_by: string;
        };
        /** @description Whether something is deployed to an environment. */
        EnvironmentState: "available" | "stopped";
        /** @description An environment of a repository. */
        EnvironmentView: {
            /** @description When it will be stopped. */
            auto_stop_at?: components["schemas"]["Timestamp"] | null;
            /** @description The newest successful deployment: what is deployed, or was before the environment was stopped. */
            current?: components["schemas"]["Deployment"] | null;
            /** @description The deployments and stops, newest first; only in the reply to a query with a `name`. */
            deployments?: components["schemas"]["Deployment"][];
            /** @description Its name. */
            name: string;
            /** @description The newest deployment or stop, whatever its status. */
            newest?: components["schemas"]["Deployment"] | null;
            /** @description Name of the repository. */
            repo: string;
            /** @description Whether something is deployed. */
            state: components["schemas"]["EnvironmentState"];
            /** @description Why it could not be stopped by itself. */
            stop_failure?: string | null;
            /** @description When it was stopped. */
            stopped_at?: components["schemas"]["Timestamp"] | null;
            /** @description What it is for, as the last deployment says; absent: derived from the name. */
            tier?: components["schemas"]["DeploymentTier"] | null;
        };
        /** @description The jobs of a file that take no part in an execution. */
        ExcludedJobList: {
            /** @description In the order of the file; at most 500. */
            jobs: components["schemas"]["ExcludedJobView"][];
            /**
             * Format: uint32
             * @description The number of all of them.
             */
            total: number;
        };
        /** @description A job that takes no part in an execution. */
        ExcludedJobView: {
            /** @description Its name in the file, or that of one of its variants. */
            job_name: string;
            /** @description The reason, such as "`branch == default_branch` does not hold". */
            reason: string;
        };
        /** @description The created execution, or an existing one. */
        ExecuteReply: {
            /**
             * @description Whether it existed already: it has the same repository, pipeline, commit, content and variables and has not
             *     ended, or the request has the same idempotency key.
             */
            attached: boolean;
            /** @description Its id. */
            execution_id: components["schemas"]["ExecutionId"];
            /** @description Name of the pipeline. */
            pipeline_name: string;
            /** @description Its repository. */
            repo: string;
            /**
             * Format: uint64
             * @description Its number within repository and pipeline, from 1.
             */
            run_number: number;
            /** @description Its status. */
            status: components["schemas"]["ExecutionStatus"];
        };
        /** @description Starts an execution. */
        ExecuteRequest: {
            /**
             * @description Branch.
             * @default null
             */
            branch?: string | null;
            /** @description Changed paths, for conditions; absent: unknown, so that such conditions hold. */
            changed?: string[] | null;
            /**
             * @description Commit hash.
             * @default null
             */
            commit?: string | null;
            /**
             * @description What is known of the commit, for conditions.
             * @default {}
             */
            commit_details?: components["schemas"]["CommitDetails"];
            /** @description Paths that changed since other refs, by the names that conditions have for them; null: there is no such ref. */
            compared?: {
                [key: string]: string[] | null;
            };
            /** @description The repository's default branch, for conditions. */
            default_branch?: string | null;
            /** @description The event that conditions see; absent: `trigger`. */
            event?: components["schemas"]["Trigger"] | null;
            /**
             * @description Its file name, for messages.
             * @default null
             */
            file?: string | null;
            /** @description Paths of the source files, for conditions; absent: unknown, so that such conditions hold. */
            files?: string[] | null;
            /**
             * @description Creates another execution even if an equal one is running.
             * @default false
             */
            force?: boolean;
            /** @description Runs only these jobs and those that depend on them, with what all of them need; empty: all. */
            from?: string[];
            /** @description The files from elsewhere that the text of the pipeline was made from. */
            includes?: components["schemas"]["PinnedInclude"][];
            /** @description The values of the pipeline's inputs; those without one have their default. */
            inputs?: {
                [key: string]: components["schemas"]["InputValue"];
            };
            /** @description Runs only these jobs, with what they need; empty: all. */
            jobs?: string[];
            /** @description The pipeline file's text. */
            pipeline: string;
            /** @description Repository as shown to users: a URL or a path. */
            repo: string;
            /**
             * @description The user, as the caller claims. Used only with the deployment's own token: other tokens have a name.
             * @default null
             */
            requested_by?: string | null;
            /**
             * @description An ended execution of the same repository and pipeline. Its successful jobs are carried over, except those of `from` and
             *     their dependents.
             */
            reuse?: components["schemas"]["ExecutionId"] | null;
            /** @description Where workers fetch the sources. */
            source: components["schemas"]["Source"];
            /** @description The tag of the commit; `branch` is then absent. */
            tag?: string | null;
            /**
             * @description What started it.
             * @default manual
             */
            trigger?: components["schemas"]["Trigger"];
            /**
             * @description Variables that override the file's.
             * @default {}
             */
            variables?: {
                [key: string]: string;
            };
        };
        /**
         * Format: uuid
         * @description One run of a pipeline at one commit (UUIDv7, so that ids sort by creation time).
         */
        ExecutionId: string;
        /** @description What an execution does. */
        ExecutionKind: "run_pipeline" | "discover_pipelines";
        /** @description A page of executions, newest first. */
        ExecutionList: {
            /** @description The page. */
            executions: components["schemas"]["ExecutionSummary"][];
            /**
             * @description Value of `cursor` for the next page; absent on the last page. A page with filters may be shorter than its limit, or empty,
             *     although there is a next one.
             */
            next_cursor?: string | null;
        };
        /** @description Status of an execution. */
        ExecutionStatus: "PENDING" | "RUNNING" | "SUCCESS" | "FAILED" | "CANCELED";
        /** @description An execution without its jobs. */
        ExecutionSummary: {
            /** @description Branch. */
            branch?: string | null;
            /**
             * @description Whether a cancel was requested.
             * @default false
             */
            cancel_requested?: boolean;
            /** @description Commit. */
            commit?: string | null;
            /**
             * @description What is known of the commit: of its message, the first line.
             * @default {}
             */
            commit_details?: components["schemas"]["CommitDetails"];
            /** @description When it was created. */
            created_at: components["schemas"]["Timestamp"];
            /** @description When it ended. */
            end_time?: components["schemas"]["Timestamp"] | null;
            /** @description Its id. */
            id: components["schemas"]["ExecutionId"];
            /** @description The values of the pipeline's inputs. */
            inputs?: {
                [key: string]: string;
            };
            /** @description What it does. */
            kind: components["schemas"]["ExecutionKind"];
            /** @description The job that started it, if it is the child of another execution. */
            parent?: components["schemas"]["ParentView"] | null;
            /** @description The pipeline's name. */
            pipeline_name: string;
            /** @description Repository. */
            repo: string;
            /** @description The user who requested it. */
            requested_by?: string | null;
            /**
             * @description The execution that this one retries.
             * @default null
             */
            retry_of?: components["schemas"]["ExecutionId"] | null;
            /**
             * Format: uint64
             * @description Number within repository and pipeline, from 1.
             */
            run_number: number;
            /** @description When its first job started. */
            start_time?: components["schemas"]["Timestamp"] | null;
            /** @description Status. */
            status: components["schemas"]["ExecutionStatus"];
            /** @description The newer execution of its concurrency group that canceled it. */
            superseded_by?: components["schemas"]["ExecutionId"] | null;
            /** @description Whether it was canceled because it exceeded its pipeline's `timeout`. */
            timed_out?: boolean;
            /** @description What started it. */
            trigger: components["schemas"]["Trigger"];
            /** @description Whether its sources are a working tree with changes that `commit` does not have. */
            uncommitted?: boolean;
        };
        /** @description The test results of an execution. */
        ExecutionTests: {
            /** @description Sum over all jobs. */
            counts: components["schemas"]["TestCounts"];
            /** @description The jobs with tests, in the plan's order. */
            jobs: components["schemas"]["JobTests"][];
        };
        /** @description An execution with its jobs. */
        ExecutionView: {
            /** @description Whether the execution as a whole needs an approval, and has it. */
            approval?: components["schemas"]["Approval"] | null;
            /** @description Whether the caller may approve, cancel and retry executions of its repository. */
            caller_may_run?: boolean;
            /**
             * Format: double
             * @description What the workers' time for its ended attempts cost, in dollars; absent: nothing ended, or the workers have no price.
             */
            cost_usd?: number | null;
            /** @description The execution. */
            execution: components["schemas"]["ExecutionSummary"];
            /** @description The files from elsewhere that its pipeline includes, with their versions. */
            includes?: components["schemas"]["PinnedInclude"][];
            /** @description Jobs in the plan's order. */
            jobs: components["schemas"]["JobView"][];
            /** @description Value of `cursor` for the next jobs; absent: there are none after these. */
            next_cursor?: string | null;
            /** @description Why it is kept for ever, if a user pinned it. */
            pin?: components["schemas"]["Pin"] | null;
            /** @description Stage names in order. */
            stages: string[];
            /** @description The execution of its group that it waits for. */
            waits_for?: components["schemas"]["ExecutionId"] | null;
        };
        /**
         * @description A page of rows: executions, newest first, each with its jobs and artifacts after it. Those of a large execution go on in the next
         *     pages.
         */
        ExportPage: {
            /** @description Artifacts. */
            artifacts: components["schemas"]["ExportedArtifact"][];
            /** @description Executions. */
            executions: components["schemas"]["ExportedExecution"][];
            /** @description Jobs. */
            jobs: components["schemas"]["ExportedJob"][];
            /** @description Value of `cursor` for the next page; absent on the last page. A page may be empty although there is a next one. */
            next_cursor?: string | null;
        };
        /** @description An artifact of a job. */
        ExportedArtifact: {
            /** @description The paths that the job declares. */
            file_path: string;
            /** @description Its id. */
            id: components["schemas"]["ArtifactId"];
            /** @description The job. */
            job_execution_id: components["schemas"]["JobId"];
            /** @description SHA-256 of what is stored, in hex. */
            sha256: string;
            /**
             * Format: uint64
             * @description Size in bytes, as stored.
             */
            size: number;
            /** @description When it was stored. */
            uploaded_at: components["schemas"]["Timestamp"];
        };
        /** @description An execution. */
        ExportedExecution: {
            /** @description Branch. */
            branch?: string | null;
            /** @description Commit. */
            commit?: string | null;
            /** @description When it was created. */
            created_at: components["schemas"]["Timestamp"];
            /** @description When it ended. */
            end_time?: components["schemas"]["Timestamp"] | null;
            /** @description Its id. */
            id: components["schemas"]["ExecutionId"];
            /** @description Name of the pipeline. */
            pipeline_name: string;
            /** @description Repository. */
            repo: string;
            /**
             * Format: uint64
             * @description Number within repository and pipeline.
             */
            run_number: number;
            /** @description When its first job started. */
            start_time?: components["schemas"]["Timestamp"] | null;
            /** @description Status. */
            status: components["schemas"]["ExecutionStatus"];
        };
        /** @description A job of an execution. */
        ExportedJob: {
            /**
             * Format: uint32
             * @description Number of its last attempt; 0: none.
             */
            attempt: number;
            /** @description Image in which it runs. */
            docker_image: string;
            /** @description When it ended. */
            end_time?: components["schemas"]["Timestamp"] | null;
            /** @description Its id. */
            id: components["schemas"]["JobId"];
            /** @description Name of the job. */
            job_name: string;
            /** @description Path of the log on the server; absent: it has none. */
            logs?: string | null;
            /** @description The execution. */
            pipeline_execution_id: components["schemas"]["ExecutionId"];
            /** @description Name of the stage. */
            stage: string;
            /** @description When its last attempt started. */
            start_time?: components["schemas"]["Timestamp"] | null;
            /** @description Status. */
            status: components["schemas"]["JobStatus"];
        };
        /** @description The variables that an execution gets from its repository. Values that must not be recorded are not among them. */
        ExternalVariables: {
            /**
             * @description The names of the others, whose values only jobs get: masked ones, secrets and files.
             * @default []
             */
            hidden?: string[];
            /** @description The names of those that jobs of some environment get; a value of the file is that of the other jobs. */
            of_environments?: string[];
            /** @description The only registry of images for which the repository has a login. */
            registry?: string | null;
            /**
             * @description Those whose values may be recorded.
             * @default {}
             */
            values?: {
                [key: string]: string;
            };
        };
        /** @description The kind of a failure; stable, for programs and for retry rules. */
        FailureKind: "script_failed" | "timed_out" | "preparation_timed_out" | "out_of_memory" | "image_unavailable" | "registry_access_denied" | "image_pull_failed" | "source_unavailable" | "artifact_failed" | "engine_failed" | "disk_full" | "worker_failed" | "log_limit" | "artifact_limit" | "workspace_limit" | "masking_failed" | "worker_lost" | "given_back" | "undeliverable" | "needs_failed" | "not_needed" | "not_approved" | "service_failed" | "not_allowed" | "secret_unavailable" | "canceled" | "internal" | "condition_not_met";
        /** @description A failure with a message that a user can act on. */
        FailureReason: {
            /** @description Its kind. */
            kind: components["schemas"]["FailureKind"];
            /** @description What failed, and what to do next. */
            message: string;
        };
        /** @description A test that failed, and passed in a later attempt or in a retry of the execution, or that its report calls flaky. */
        FlakyTest: {
            /**
             * Format: uint32
             * @description The number of executions in which it was flaky. Of each day, at most 50 tests are counted.
             */
            count: number;
            /** @description The job's name. */
            job_name: string;
            /** @description The last of them. */
            last_execution: components["schemas"]["ExecutionId"];
            /** @description Its name within the suite. */
            name: string;
            /** @description The test's class, or else its suite. */
            suite: string;
        };
        /** @description The machines that a deployment starts for its workers. Each of their workers has the id of its machine as its name. */
        FleetView: {
            /**
             * Format: uint32
             * @description Number of machines at the last decision about them.
             */
            machines: number;
            /** @description The last machines that were removed because their worker did not report, at most 10; the newest last. */
            unstarted?: components["schemas"]["UnstartedMachine"][];
        };
        /** @description What was removed, or would be. */
        GcReport: {
            /**
             * Format: uint64
             * @description Bytes of artifacts.
             */
            artifact_bytes: number;
            /**
             * Format: uint64
             * @description Number of executions of which only the artifacts went.
             */
            artifacts: number;
            /** @description Whether nothing was removed. */
            dry_run: boolean;
            /**
             * Format: uint64
             * @description Number of executions.
             */
            executions: number;
            /**
             * Format: uint64
             * @description Number of executions that could not be removed; the next run tries them again.
             */
            failed: number;
            /** @description The first items. */
            items: components["schemas"]["RemovedItem"][];
            /** @description Number of executions of those read that are kept, by reason. */
            kept: {
                [key: string]: number;
            };
            /**
             * Format: uint64
             * @description Number of executions of which only the logs went.
             */
            logs: number;
            /** @description Where to go on, if the request had no time for everything. */
            next?: components["schemas"]["ExecutionId"] | null;
            /**
             * Format: uint64
             * @description Number of executions that were read: those that are old enough for some rule.
             */
            read: number;
            /** @description Whether there are more items than these. */
            truncated: boolean;
        };
        /** @description Requests to remove what the rules say, now. */
        GcRequest: {
            /** @description Where to go on: `next` of the report before. */
            after?: components["schemas"]["ExecutionId"] | null;
            /**
             * @description Whether to remove nothing, and only to say what would go.
             * @default false
             */
            dry_run?: boolean;
            /** @description Only of this repository, in any form of its address. */
            repo?: string | null;
        };
        /** @description A GitHub App that is installed for a repository. */
        GithubApp: {
            /**
             * Format: uint64
             * @description The id of the App.
             */
            app_id: number;
            /**
             * Format: uint64
             * @description The id of its installation.
             */
            installation_id: number;
            /** @description Its private key, as GitHub generates it (PEM). */
            private_key: string;
        };
        /** @description A change of the App of a repository. */
        GithubAppChange: {
            set: components["schemas"]["GithubApp"];
        } | "remove";
        /** @description A GitHub App without its key. */
        GithubAppView: {
            /**
             * Format: uint64
             * @description The id of the App.
             */
            app_id: number;
            /**
             * Format: uint64
             * @description The id of its installation.
             */
            installation_id: number;
        };
        /** @description GPUs of the worker's machine. */
        Gpus: "all" | {
            /** Format: uint32 */
            count: number;
        } | {
            ids: string[];
        };
        /** @description A job that has a place in a concurrency group. */
        GroupHolder: {
            /** @description Its execution. */
            execution_id: components["schemas"]["ExecutionId"];
            /** @description Its name. */
            job_name: string;
            /** @description The pipeline. */
            pipeline_name: string;
            /**
             * Format: uint64
             * @description The number of that execution among those of its pipeline.
             */
            run_number: number;
        };
        /** @description Readiness check of a service. */
        Health: {
            command: string;
        } | {
            /** Format: uint16 */
            port: number;
        };
        /** @description Health of a server. */
        Health2: {
            /** @description Details, for callers with a token. */
            details?: components["schemas"]["HealthDetails"] | null;
            /**
             * @description Current problems.
             * @default []
             */
            problems?: components["schemas"]["HealthProblem"][];
            /** @description Overall status. */
            status: components["schemas"]["HealthStatus"];
            /** @description Version of the server. */
            version: string;
        };
        /** @description Measurements of a server. Unknown values are absent. */
        HealthDetails: {
            /**
             * Format: uint64
             * @description Free bytes on the disk of the data.
             */
            disk_free_bytes?: number | null;
            /**
             * Format: uint64
             * @description Free bytes below which no new work is accepted.
             */
            disk_low_bytes?: number | null;
            /**
             * Format: uint64
             * @description Bytes reserved on disk for the records.
             */
            disk_reserve_bytes?: number | null;
            /** @description Whether the reserve is in use. */
            disk_reserve_spent?: boolean | null;
            /** @description When the last sweep succeeded. */
            last_sweep_at?: components["schemas"]["Timestamp"] | null;
            /** @description Progress of the check of all records. */
            records?: components["schemas"]["RecordsCheck"] | null;
            /**
             * Format: uint64
             * @description Milliseconds for a write to the store and a read.
             */
            store_ms?: number | null;
        };
        /** @description A problem of a server. */
        HealthProblem: "store_slow" | "store_failed" | "disk_low" | "disk_full" | "sweep_late" | "records_damaged";
        /** @description Overall status of a server. */
        HealthStatus: "ok" | "degraded" | "failing";
        /** @description An image that a job builds from a Dockerfile, after its script if it has one. */
        ImageBuild: {
            /** @description Values of the Dockerfile's `ARG`s. May hold `${NAME}` references. */
            args?: {
                [key: string]: string;
            };
            /** @description Images in a registry whose layers may be reused. May hold `${NAME}` references. */
            cache_from?: string[];
            /**
             * @description The directory whose files the build can copy, relative to the workspace. May hold `${NAME}` references.
             * @default
             */
            context?: string;
            /**
             * @description The Dockerfile, relative to `context`. May hold `${NAME}` references.
             * @default
             */
            dockerfile?: string;
            /** @description Whether the image has the data by which a later build can reuse its layers with `cache_from`. */
            inline_cache?: boolean;
            /** @description Labels of the image. May hold `${NAME}` references. */
            labels?: {
                [key: string]: string;
            };
            /** @description The platform, which must be that of the worker. */
            platform?: string | null;
            /** @description Whether base images are looked up in their registries although the engine has them. */
            pull?: boolean;
            /** @description Whether the image is pushed to the registries of its tags. */
            push?: boolean;
            /** @description Variables of the job's secrets that `RUN --mount=type=secret` can read, by their names. */
            secrets?: string[];
            /** @description Whether `RUN --mount=type=ssh` can use the SSH agent of the worker. */
            ssh?: boolean;
            /** @description The names under which the image is pushed. May hold `${NAME}` references. */
            tags?: string[];
            /** @description The stage of the Dockerfile to build. `None`: the last one. */
            target?: string | null;
        };
        /** @description Overrides of an image's own settings; what is absent is as in the image. */
        ImageOptions: {
            /** @description Overrides the entry point of the image. Empty: none, the shell starts directly. */
            entrypoint?: string[] | null;
            /** @description The variant of the image: `os/architecture` or `os/architecture/variant`. May hold `${NAME}` references. */
            platform?: string | null;
            /** @description The user, and optionally the group, of the container's processes: `name`, `uid`, `uid:gid`. May hold `${NAME}` references. */
            user?: string | null;
        };
        /** @description The value of an input. */
        InputValue: boolean | number | string;
        /** @description The inputs of a pipeline. */
        InputsReply: {
            /** @description The pipeline's name. */
            pipeline_name: string;
            /** @description A JSON Schema of the `inputs` of a request, from which a form can be made. */
            schema: unknown;
        };
        /** @description Asks for the inputs of a pipeline. */
        InputsRequest: {
            /** @description The pipeline file's text. */
            pipeline: string;
        };
        /** @description Statistics of the pipelines of a repository. */
        Insights: {
            /**
             * Format: uint32
             * @description Number of days.
             */
            days: number;
            /** @description Beginning of the first day. */
            from: components["schemas"]["Timestamp"];
            /** @description Pipelines with executions that ended in these days, by name. */
            pipelines: components["schemas"]["PipelineInsight"][];
            /** @description The repository. */
            repo: string;
            /** @description Whether there are more pipelines and days than one reply has; query them by pipeline. */
            truncated?: boolean;
        };
        /** @description An annotation with the job that made it. */
        JobAnnotation: {
            /**
             * Format: uint32
             * @description The column of the line, from 1.
             */
            column?: number | null;
            /**
             * Format: uint32
             * @description The column at which it ends.
             */
            end_column?: number | null;
            /**
             * Format: uint32
             * @description The last line, if it is not `line`.
             */
            end_line?: number | null;
            /** @description The job. */
            job_id: components["schemas"]["JobId"];
            /** @description Its name, including matrix values. */
            job_name: string;
            /** @description How severe it is. */
            level: components["schemas"]["AnnotationLevel"];
            /**
             * Format: uint32
             * @description The line of the file, from 1.
             */
            line?: number | null;
            /** @description The message. */
            message: string;
            /**
             * Format: uint64
             * @description Number of other jobs that made the same annotation, such as the variants of a matrix.
             * @default 0
             */
            other_jobs?: number;
            /** @description The file, relative to the sources. */
            path?: string | null;
            /** @description A short title, such as the name of a rule. */
            title?: string | null;
        };
        /** @description The reply to a request for work. */
        JobExecuteReply: {
            /** @description The attempt. */
            assignment: components["schemas"]["Assignment"];
            /** @constant */
            kind: "assigned";
            /**
             * @description Jobs of the same execution that will probably be ready next.
             * @default []
             */
            upcoming?: components["schemas"]["Preparation"][];
        } | {
            /** @constant */
            kind: "nothing";
            /** @description The reason, for logs. */
            reason: string;
        };
        /** @description Requests an attempt of a given job (whose id came from a queue), or of any job that is ready. */
        JobExecuteRequest: {
            /**
             * @description Only jobs of this execution.
             * @default null
             */
            execution_id?: components["schemas"]["ExecutionId"] | null;
            /**
             * @description The job; absent: the next one.
             * @default null
             */
            job_id?: components["schemas"]["JobId"] | null;
            /** @description The worker's labels: it gets only jobs whose required labels it has. */
            labels?: {
                [key: string]: string;
            };
            /**
             * @description Only with `job_id`: a value that the worker creates for this request and from which the lease token is derived.
             *     If the reply is lost, the same request returns the same attempt.
             * @default null
             */
            lease?: components["schemas"]["LeaseToken"] | null;
            /**
             * Format: uint32
             * @description Maximum number of upcoming jobs in the reply.
             * @default 0
             */
            lookahead?: number;
            /**
             * Format: uint64
             * @description What a slot of the worker costs, in millionths of a dollar for an hour; 0 if it has no price. At most 10,000 dollars.
             * @default 0
             */
            slot_price?: number;
            /**
             * Format: uint64
             * @description Milliseconds to wait for a job if none is ready; at most 20,000.
             * @default 0
             */
            wait_ms?: number;
            /** @description The worker. */
            worker: components["schemas"]["WorkerInfo"];
        };
        /** @description The parts of an attempt besides its script. */
        JobExtras: {
            /** @description Shell commands that run after the script, however it ended; their exit code is ignored. */
            after_script?: string[];
            /** @description The image to build after the script, if there is one. */
            build?: components["schemas"]["ImageBuild"] | null;
            /** @description Caches to fetch and save. */
            caches?: components["schemas"]["Cache"][];
            /** @description For a job that starts another pipeline, which has no script: that pipeline. */
            child?: components["schemas"]["ChildRequest"] | null;
            /** @description Pattern that finds the line coverage in the script's output. */
            coverage?: string | null;
            /** @description The credential of the job's repository. No other API reply contains it, and a worker does not store it. */
            credential?: components["schemas"]["SourceCredential"] | null;
            /** @description For a discovery job, which has no script: what to find out about the commit. */
            discovery?: components["schemas"]["Discovery"] | null;
            /**
             * @description Whether the job may save caches: for a commit of a fork it may only fetch them.
             * @default false
             */
            may_keep_caches?: boolean;
            /** @description Globs of files with variables for the jobs that need this one. */
            outputs?: string[];
            /**
             * @description The logins of the job's images, as stored on the server. No other API reply contains them, and a worker does not store
             *     them.
             */
            registries?: components["schemas"]["RegistryLogin"][];
            /** @description The secrets that the job names. No other API reply contains them, and a worker does not store them. */
            secrets?: components["schemas"]["SecretValue"][];
            /** @description Containers that run next to the job. */
            services?: components["schemas"]["Service"][];
            /** @description Whether another job runs in the image that it builds, which therefore must reach that job's worker. */
            shares_image?: boolean;
            /** @description A shell in the job that a user asks for. */
            shell?: components["schemas"]["ShellRequest"] | null;
        };
        /**
         * Format: uuid
         * @description One job of one execution.
         */
        JobId: string;
        /** @description Statistics of a job. */
        JobInsight: {
            /**
             * Format: double
             * @description What the workers' time for it cost, in dollars; absent: the workers have no price.
             */
            cost_usd?: number | null;
            /** @description Its runs, without skipped and carried-over ones. */
            counts: components["schemas"]["CountsView"];
            /** @description The job's name, with the values of a matrix. */
            job_name: string;
        };
        /** @description A worker's report: heartbeat, log bytes and status in one call. */
        JobReport: {
            /**
             * @description The outcome, if the attempt has ended.
             * @default null
             */
            end?: components["schemas"]["AttemptEnd"] | null;
            /** @description The job. */
            job_id: components["schemas"]["JobId"];
            /** @description The attempt's lease. */
            lease: components["schemas"]["LeaseToken"];
            /**
             * @description New log bytes.
             * @default null
             */
            log?: components["schemas"]["LogBytes"] | null;
            /**
             * @description The worker's current activity, if it changed.
             * @default null
             */
            phase?: string | null;
            /**
             * @description Commands whose state changed.
             * @default []
             */
            steps?: components["schemas"]["StepView"][];
        };
        /** @description The reply to a report. */
        JobReportReply: {
            /** @description Whether to stop because the job was canceled. The worker then ends the container and reports the end. */
            cancel: boolean;
            /**
             * Format: uint64
             * @description Remaining duration of the lease in milliseconds.
             */
            lease_ttl_ms: number;
            /**
             * Format: uint64
             * @description Number of stored bytes of this attempt's log, in the reply to a report that has some.
             */
            log_bytes: number;
            /**
             * Format: uint64
             * @description Milliseconds for which the worker collects log bytes, phases and steps before it reports them. It changes when a user begins to
             *     read the log.
             */
            report_interval_ms: number;
            /** @description A shell in the job that a user asks for. */
            shell?: components["schemas"]["ShellRequest"] | null;
        };
        /** @description Status of a job. */
        JobStatus: "PENDING" | "QUEUED" | "RUNNING" | "SUCCESS" | "FAILED" | "CANCELED" | "SKIPPED";
        /** @description The test results of a job: those of its last attempt, compared with earlier attempts and with retried executions. */
        JobTests: {
            /** @description The job. */
            job_id: components["schemas"]["JobId"];
            /** @description Its name, including matrix values. */
            job_name: string;
            /** @description Its results. */
            report: components["schemas"]["TestReport"];
        };
        /** @description A job as shown to users. */
        JobView: {
            /** @description Whether it has no `needs`, and waits for all jobs of earlier stages. */
            after_stages?: boolean;
            /** @description Whether its failure is tolerated. */
            allow_failure: boolean;
            /** @description Whether it needs an approval, and has it. */
            approval?: components["schemas"]["Approval"] | null;
            /** @description Who approved it, and what is missing, if its environment is protected. */
            approvals?: components["schemas"]["ApprovalProgress"] | null;
            /**
             * Format: uint32
             * @description Current or last attempt; 0 before the first.
             */
            attempt: number;
            /** @description Finished attempts before the current one, oldest first. */
            attempts: components["schemas"]["AttemptView"][];
            /** @description What an approval by the caller would be, if it waits for one. */
            caller_approval?: components["schemas"]["CallerApproval"] | null;
            /**
             * @description The same job of the retried execution, if it was carried over.
             * @default null
             */
            carried_from?: components["schemas"]["JobId"] | null;
            /** @description The execution that it started. */
            child?: components["schemas"]["ChildView"] | null;
            /** @description The condition on outputs that decides, when the job is due, whether it runs. */
            condition?: string | null;
            /** @description Image. */
            docker_image: string;
            /** @description When it ended. */
            end_time?: components["schemas"]["Timestamp"] | null;
            /** @description The environment that it deploys to. */
            environment?: components["schemas"]["Environment"] | null;
            /**
             * Format: int32
             * @description Exit code.
             */
            exit_code?: number | null;
            /** @description Why it did not succeed. */
            failure_reason?: components["schemas"]["FailureReason"] | null;
            /** @description Its id. */
            id: components["schemas"]["JobId"];
            /** @description Name with matrix values: `unit [features=all]`. */
            job_name: string;
            /**
             * Format: uint64
             * @description Number of stored bytes of the last attempt's log.
             */
            log_bytes: number;
            /** @description Names of the jobs that it waits for, with matrices expanded. */
            needs: string[];
            /**
             * @description When the next attempt starts, if it is delayed: the first by `start_in`, later ones after a failure that was not
             *     the job's own.
             */
            not_before?: components["schemas"]["Timestamp"] | null;
            /** @description Current activity of the worker: `pulling image`, `preparing`, `running`, `collecting artifacts`. */
            phase?: string | null;
            /** @description Its execution. */
            pipeline_execution_id: components["schemas"]["ExecutionId"];
            /** @description When its needs had ended. */
            queued_at?: components["schemas"]["Timestamp"] | null;
            /** @description Labels that its worker must have. */
            runs_on?: {
                [key: string]: string;
            };
            /** @description Stage. */
            stage: string;
            /** @description When the last attempt started. */
            start_time?: components["schemas"]["Timestamp"] | null;
            /** @description Status. */
            status: components["schemas"]["JobStatus"];
            /** @description Commands of the last attempt. */
            steps: components["schemas"]["StepView"][];
            /**
             * @description Whether it counts as successful although it did not succeed: its exit code is tolerated, it was not needed, or a
             *     condition on outputs did not hold.
             */
            tolerated?: boolean;
            /** @description While it is queued: the labels among these that no worker has, or all if no worker has them together. */
            unserved_labels?: {
                [key: string]: string;
            };
            /** @description What it waits for, if it waits for a place in its concurrency group. */
            waits_for_place?: components["schemas"]["PlaceWait"] | null;
        };
        /** @description A lease as sent to its holder. */
        LeaseGrant: {
            /**
             * Format: uint64
             * @description Milliseconds for which the worker collects log bytes, phases and steps before it reports them, unless a reply says otherwise.
             */
            report_interval_ms: number;
            /** @description Token that every report on this attempt must contain. */
            token: components["schemas"]["LeaseToken"];
            /**
             * Format: uint64
             * @description Duration of the lease from each accepted report, in milliseconds. A duration, not a point in time, so that the
             *     worker's clock does not matter.
             */
            ttl_ms: number;
        };
        /**
         * Format: uuid
         * @description The fencing token of one attempt: its holder may report on that attempt.
         */
        LeaseToken: string;
        /** @description A section of a log. */
        LogBytes: {
            /**
             * Format: uint32
             * @description Number of bytes before compression, at most 8 MiB.
             */
            length: number;
            /** @description Times of positions in the log, in order. They may be of bytes that earlier reports had. */
            marks?: components["schemas"]["LogMark"][];
            /**
             * Format: uint64
             * @description Offset of the first byte in this attempt's log. Bytes that are already stored are skipped; a gap is rejected
             *     with 409.
             */
            offset: number;
        } & ({
            zstd_base64: string;
        } | {
            gzip_base64: string;
        } | {
            base64: string;
        } | {
            text: string;
        });
        /** @description When a position of a log was written: the bytes from here to the next mark came at this time or later. */
        LogMark: {
            /** @description The time, by the clock of the worker. */
            at: components["schemas"]["Timestamp"];
            /**
             * Format: uint64
             * @description Number of line ends before it.
             */
            line: number;
            /**
             * Format: uint64
             * @description Offset in the attempt's log.
             */
            offset: number;
        };
        /** @description Times of the lines of an attempt's log. */
        LogTimes: {
            /** @description Whether no more bytes will follow. */
            complete: boolean;
            /**
             * @description Marks by ascending offset, at most 10,000: of a log with more, some are left out evenly. A running job's last seconds have
             *     none yet, and neither has a log that was written within a second.
             */
            marks: components["schemas"]["LogMark"][];
            /**
             * Format: uint64
             * @description Number of stored bytes of the log.
             */
            size: number;
        };
        /** @description What a notification is about. */
        NotificationEvent: "failure" | "recovery" | "approval" | "flaky";
        /** @description A receiver of notifications. */
        Notify: {
            /** @description Patterns of branches and tags, such as `release/*`; none: all. */
            branches?: string[];
            /** @description The events; none: failures and recoveries. */
            events?: components["schemas"]["NotificationEvent"][];
            /** @description The format. */
            kind: components["schemas"]["NotifyKind"];
            /** @description When notifications wait. */
            quiet?: components["schemas"]["QuietHours"] | null;
            /** @description The room of Matrix: `!id:example.org`. */
            room?: string | null;
            /** @description The secret that signs webhooks, or the access token for Matrix. */
            secret?: string | null;
            /** @description The addresses of an e-mail. */
            to?: string[];
            /** @description The address: `https://` or `http://`; none for e-mail. The address of a chat is itself a secret. */
            url?: string;
        };
        /** @description The format of a notification. */
        NotifyKind: "webhook" | "chat" | "slack" | "teams" | "discord" | "matrix" | "email";
        /** @description How verifiers check ID tokens, as in OpenID Connect Discovery 1.0. */
        OpenIdConfiguration: {
            /** @description The claims of a token. */
            claims_supported: string[];
            /** @description [`ALGORITHM`]. */
            id_token_signing_alg_values_supported: string[];
            /** @description The issuer, which is in each token. */
            issuer: string;
            /** @description The address of the [`PublicKeySet`]. */
            jwks_uri: string;
            /** @description `id_token`. */
            response_types_supported: string[];
            /** @description `openid`. */
            scopes_supported: string[];
            /** @description `public`. */
            subject_types_supported: string[];
        };
        /** @description Where a job comes from, which decides what it is allowed. */
        Origin: {
            /** @description Whether its commit is one of a fork. */
            is_fork?: boolean;
            /**
             * @description The name of its repository.
             * @default
             */
            repository?: string;
        };
        /** @description What happens, and what happened last, in all repositories. */
        Overview: {
            /** @description Those of `running` and `pending` that wait for an approval; at most 20 are checked. */
            approvals: components["schemas"]["AwaitedApproval"][];
            /** @description Discoveries that failed, newest first: those of the last week that are the last ones of their branches; at most 10. */
            failed_discoveries?: components["schemas"]["ExecutionSummary"][];
            /** @description Executions that have not started, newest first; at most 50. */
            pending: components["schemas"]["ExecutionSummary"][];
            /** @description Repositories with ended executions, the most recent first; at most 200. */
            repositories: components["schemas"]["RepositoryOverview"][];
            /** @description Executions that run, newest first; at most 50. */
            running: components["schemas"]["ExecutionSummary"][];
        };
        /** @description The job that started a child execution. */
        ParentView: {
            /** @description The job's execution. */
            execution_id: components["schemas"]["ExecutionId"];
            /** @description The job. */
            job_id: components["schemas"]["JobId"];
            /** @description The job's name. */
            job_name: string;
        };
        /** @description Why an execution is kept for ever. */
        Pin: {
            /** @description When. */
            at: components["schemas"]["Timestamp"];
            /** @description Who pinned it. */
            by: string;
            /** @description Why. */
            note?: string | null;
        };
        /** @description Whether an execution is pinned. */
        PinReply: {
            /** @description Whether this request changed it. */
            changed: boolean;
            /** @description The execution. */
            execution_id: components["schemas"]["ExecutionId"];
            /** @description Why. */
            note?: string | null;
            /** @description When. */
            pinned_at?: components["schemas"]["Timestamp"] | null;
            /** @description Who pinned it; absent: it is not pinned. */
            pinned_by?: string | null;
        };
        /** @description Pins an execution, so that it is kept for ever, or unpins it. */
        PinRequest: {
            /** @description Why, for others to read; at most 500 bytes. */
            note?: string | null;
            /** @description Whether to pin it. */
            pinned: boolean;
        };
        /** @description An included file from elsewhere, with the version of it that the pipeline was made from. */
        PinnedInclude: {
            /** @description The full hash of the commit. */
            commit: string;
            /** @description The path of the file in the repository. */
            file: string;
            /** @constant */
            kind: "git";
            /** @description The branch, tag or version that the pipeline names; absent: the default branch. */
            reference?: string | null;
            /** @description The address of the repository. */
            url: string;
        } | {
            /** @constant */
            kind: "remote";
            /** @description Its SHA-256 in hex. */
            sha256: string;
            /** @description Its address, without a query. */
            url: string;
        } | {
            /** @constant */
            kind: "template";
            /** @description Its name. */
            name: string;
            /** @description Its SHA-256 in hex. */
            sha256: string;
        };
        /** @description A pipeline file at a commit. */
        PipelineFile: {
            /** @description The files from elsewhere that it includes, with their versions. */
            includes?: components["schemas"]["PinnedInclude"][];
            /** @description Path in the repository. */
            path: string;
            /** @description Its text with includes resolved; for GitLab's file, the native text that it is translated to. */
            text: string;
        };
        /** @description The pipeline file of an execution, as it was planned. */
        PipelineFileView: {
            /** @description Its text; files that it includes are part of it. */
            content: string;
            /** @description The files from elsewhere that its text was made from, with their versions. */
            includes?: components["schemas"]["PinnedInclude"][];
            /** @description Its path in the repository, if the request named it. */
            path?: string | null;
            /**
             * @description The variables that the execution got besides those of the file, in their order. Masked ones, which only jobs get, are not
             *     among them.
             */
            variables?: components["schemas"]["PlannedVariable"][];
        };
        /** @description Statistics of a pipeline. */
        PipelineInsight: {
            /** @description Its executions by day, oldest first; days without any are absent. */
            by_day: components["schemas"]["DayInsight"][];
            /**
             * Format: double
             * @description What the workers' time for its jobs cost, in dollars; absent: the workers have no price.
             */
            cost_usd?: number | null;
            /** @description The line coverage by day, oldest first; days without any are absent. If some are of the default branch, only those. */
            coverage?: components["schemas"]["DayCoverage"][];
            /** @description Its executions. */
            executions: components["schemas"]["CountsView"];
            /** @description The tests that failed and passed for the same commit, the most frequent first; at most 20. */
            flaky_tests?: components["schemas"]["FlakyTest"][];
            /** @description Its jobs, by name; of each day, the first 100 names are counted. */
            jobs: components["schemas"]["JobInsight"][];
            /** @description The pipeline's name. */
            pipeline_name: string;
        };
        /** @description A job's wait for a place in its concurrency group. */
        PlaceWait: {
            /** @description The group. */
            group: string;
            /** @description The first jobs that have a place, at most five. */
            holders: components["schemas"]["GroupHolder"][];
            /**
             * Format: uint32
             * @description How many jobs of the group run at the same time.
             */
            limit: number;
            /**
             * Format: uint32
             * @description Its position among the jobs that wait; 1 is the next one. Absent: the list is full.
             */
            position?: number | null;
        };
        /** @description A variable of an execution that its file does not set. */
        PlannedVariable: {
            /** @description Its name. */
            name: string;
            /** @description Where it is from. */
            source: components["schemas"]["VariableSource"];
            /**
             * @description Its value when the execution was planned. Values of the repository's variables, which may be protected, are only for callers
             *     who may start executions.
             */
            value?: string | null;
        };
        /** @description What a worker can prepare for a job before it holds the lease: enough to create a standby container. */
        Preparation: {
            /**
             * @description How the sources are checked out.
             * @default {}
             */
            checkout?: components["schemas"]["Checkout"];
            /** @description What the job asks of its container; the worker decides what it allows. */
            container?: components["schemas"]["ContainerOptions"];
            /** @description Its execution. */
            execution_id: components["schemas"]["ExecutionId"];
            /** @description Image reference. */
            image: string;
            /** @description How the image is used. */
            image_options?: components["schemas"]["ImageOptions"];
            /** @description The job that will likely run next. */
            job_id: components["schemas"]["JobId"];
            /**
             * @description For whom the worker decides that.
             * @default {
             *       "repository": ""
             *     }
             */
            origin?: components["schemas"]["Origin"];
            /**
             * @description When the image is pulled. `None`: as the worker is set up.
             * @default null
             */
            pull_policy?: components["schemas"]["PullPolicy"] | null;
            /**
             * @description The refs that the repository has besides its branch.
             * @default {}
             */
            refs?: components["schemas"]["CheckoutRefs"];
            /**
             * @description Container limits.
             * @default {
             *       "cpus": null,
             *       "memory_bytes": null
             *     }
             */
            resources?: components["schemas"]["Resources"];
            /** @description The sources. */
            source: components["schemas"]["Source"];
            /**
             * @description Working directory: absolute, or relative to the workspace; absent: the workspace.
             * @default null
             */
            working_dir?: string | null;
        };
        /** @description RFC 9457 problem document. */
        Problem: {
            /** @description What failed, and what to do next. */
            detail: string;
            /** @description For an invalid pipeline: its diagnostics, as printed by `tidemill check --format json`. */
            diagnostics?: unknown[];
            /** @description For a server error: the id of the entry in the server's log, as `urn:uuid:...`. */
            instance?: string | null;
            /**
             * Format: uint16
             * @description HTTP status.
             */
            status: number;
            /** @description Short summary, the same for each type. */
            title: string;
            /** @description Stable error type: `tidemill:not-found`, `tidemill:lease-lost`, `tidemill:invalid-pipeline`, ... */
            type: string;
        };
        /** @description Protects environments of a repository, or changes the rule for them. */
        ProtectEnvironmentRequest: {
            /**
             * Format: uint32
             * @description How many people must approve a job, 1 to 10.
             */
            approvals: number;
            /**
             * @description Who may approve: `user:PROVIDER:NAME`, `group:PROVIDER:NAME`, `role:NAME` or `token:NAME`; `*` stands for any characters.
             *     Empty: every person who may approve in the repository.
             * @default []
             */
            by?: string[];
            /** @description Name of the environment; `*` stands for any characters. */
            environment: string;
            /**
             * @description Whether the approval of who started the execution does not count.
             * @default false
             */
            exclude_starter?: boolean;
            /** @description The repository, in any form of its address. */
            repo: string;
        };
        /** @description The rules of a repository. */
        ProtectionList: {
            /** @description In the order of their environments. */
            protections: components["schemas"]["EnvironmentProtection"][];
        };
        /** @description A git provider, which sends webhooks and receives commit statuses. */
        Provider: "github" | "gitlab" | "gitea" | "bitbucket";
        /** @description Providers with which people sign in. */
        ProviderKind: "oidc" | "github" | "gitlab" | "gitea";
        /** @description A way to sign in. */
        ProviderView: {
            /** @description The provider, for the address of the sign-in. */
            id: components["schemas"]["ProviderKind"];
            /** @description Its name, for the button. */
            name: string;
        };
        /** @description A public key, as in RFC 7517. */
        PublicKey: {
            /** @description [`ALGORITHM`]. */
            alg: string;
            /** @description `P-256`. */
            crv: string;
            /** @description The id of the key, which tokens name. */
            kid: string;
            /** @description `EC`. */
            kty: string;
            /** @description `sig`. */
            use: string;
            /** @description The first coordinate of the point, in base64url. */
            x: string;
            /** @description The second coordinate. */
            y: string;
        };
        /** @description The keys that verify ID tokens. */
        PublicKeySet: {
            /** @description The keys of tokens that may be valid, and those that will sign soon. */
            keys: components["schemas"]["PublicKey"][];
        };
        /** @description When an image is pulled. */
        PullPolicy: "if-not-present" | "always" | "always-or-present" | "never";
        /** @description A time of each day in which notifications wait. */
        QuietHours: {
            /** @description When they begin: `22:00`. */
            from: string;
            /** @description The IANA time zone of both; absent: UTC. */
            time_zone?: string | null;
            /** @description When they end; before `from`: on the next day. */
            to: string;
        };
        /** @description An execution that has ended. */
        RecentExecution: {
            /** @description Branch. */
            branch?: string | null;
            /** @description When it was created. */
            created_at: components["schemas"]["Timestamp"];
            /** @description When it ended. */
            end_time: components["schemas"]["Timestamp"];
            /** @description Its id. */
            id: components["schemas"]["ExecutionId"];
            /** @description The pipeline's name. */
            pipeline_name: string;
            /**
             * Format: uint64
             * @description Number within repository and pipeline, from 1.
             */
            run_number: number;
            /** @description When its first job started. */
            start_time?: components["schemas"]["Timestamp"] | null;
            /** @description Status. */
            status: components["schemas"]["ExecutionStatus"];
            /** @description The first line of the commit's message. */
            title?: string | null;
        };
        /** @description Progress of the check of all records. */
        RecordsCheck: "running" | "whole" | "damaged" | "unfinished";
        /** @description Processes a kept delivery again. */
        RedeliverRequest: {
            /** @description The delivery's id on this server. */
            id: string;
            /** @description The repository, in any form of its address. */
            repo: string;
        };
        /** @description The reply to a request to accept redelivered webhooks. */
        RedeliveryReply: {
            /** @description The repository's name. */
            repository: string;
        };
        /** @description The logins of a repository, ordered by registry. */
        RegistryList: {
            /** @description All of them. */
            registries: components["schemas"]["RegistryView"][];
        };
        /** @description A login at a registry of images. */
        RegistryLogin: {
            /** @description The password or token. */
            password: string;
            /** @description The registry, or a path of it ([`crate::pipeline::RegistryScope`]). */
            registry: string;
            /** @description The user's name. */
            username: string;
        };
        /** @description A login without its password. */
        RegistryView: {
            /** @description The registry, or a path of it. */
            registry: string;
            /** @description The repository. */
            repo: string;
            /** @description When it was last set. */
            updated_at: components["schemas"]["Timestamp"];
            /** @description Name of the token that set it. */
            updated_by: string;
            /** @description The user's name. */
            username: string;
        };
        /** @description Deliveries whose signature was missing or wrong. */
        RejectedDeliveries: {
            /**
             * Format: uint64
             * @description Their number, since none came for 7 days; more than a rate limit allows are not counted.
             */
            count: number;
            /** @description When the last one came. */
            last_at?: components["schemas"]["Timestamp"] | null;
            /** @description Why it was rejected. */
            last_reason?: string | null;
        };
        /** @description The reply to a request to seal secrets with the newest key. */
        RekeyReply: {
            /** @description Whether there may be more: repeat the request. */
            more: boolean;
            /**
             * Format: uint
             * @description Number of secrets that had an older key.
             */
            renewed: number;
            /**
             * @description Secrets that no key of the deployment can open and that must be set again. Complete once `more` is false.
             * @default []
             */
            unreadable?: string[];
        };
        /** @description The reply to a deletion of a login. */
        RemoveRegistryReply: {
            /** @description Whether the login existed. */
            removed: boolean;
        };
        /** @description Deletes a login. */
        RemoveRegistryRequest: {
            /** @description The registry, or the path of it, as in the list. */
            registry: string;
            /** @description The repository. */
            repo: string;
        };
        /** @description The reply to the removal of a repository. */
        RemoveRepositoryReply: {
            /** @description Whether it was registered. */
            removed: boolean;
        };
        /** @description The reply to the removal of a rule. */
        RemoveRoleReply: {
            /** @description Whether there was such a rule. */
            removed: boolean;
        };
        /** @description The reply to a deletion of a secret. */
        RemoveSecretReply: {
            /** @description Whether the secret existed. */
            removed: boolean;
        };
        /** @description Deletes a secret or a variable. */
        RemoveSecretRequest: {
            /**
             * @description Its environment; absent: a secret of the repository without an environment.
             * @default null
             */
            environment?: string | null;
            /** @description Whether it is a variable. */
            is_variable?: boolean;
            /** @description Its name. */
            name: string;
            /** @description The repository. */
            repo: string;
        };
        /** @description The reply to a [`RemoveWorkersRequest`]. */
        RemoveWorkersReply: {
            /** @description The workers that were removed. */
            workers: components["schemas"]["WorkerView"][];
        };
        /** @description Removes workers that are not there from the list. */
        RemoveWorkersRequest: {
            /** @description Name or id of a worker. All workers with this name that do not report are removed. */
            worker: string;
        };
        /** @description Something that was removed, or would be. */
        RemovedItem: {
            /** @description When it ended. */
            end_time?: components["schemas"]["Timestamp"] | null;
            /** @description The execution. */
            execution_id: components["schemas"]["ExecutionId"];
            /** @description What of it goes. */
            part: components["schemas"]["RemovedPart"];
            /** @description Its pipeline. */
            pipeline_name: string;
            /** @description Its repository. */
            repo: string;
            /**
             * Format: uint64
             * @description Its run number.
             */
            run_number: number;
            /** @description Why. */
            why: string;
        };
        /** @description What of an execution goes. */
        RemovedPart: "execution" | "logs" | "artifacts";
        /** @description Reports of a job, which the worker parses after the script. */
        Reports: {
            /** @description Globs of files with issues of Code Climate. */
            codequality?: string[];
            /** @description Globs of coverage reports of Cobertura or JaCoCo. */
            coverage?: string[];
            /**
             * @description Globs of JUnit XML files.
             * @default []
             */
            junit?: string[];
            /** @description Globs of SARIF files. */
            sarif?: string[];
            /** @description Globs of security reports of GitLab. */
            sast?: string[];
        };
        /** @description A credential of a repository. It applies to the host of the repository's address, and to no other. */
        RepositoryCredential: {
            /** @constant */
            kind: "token";
            /** @description The token. */
            token: string;
            /** @description The user's name. */
            user: string;
        } | {
            /** @description The private key, without a passphrase, in the form that OpenSSH writes. */
            key: string;
            /** @constant */
            kind: "ssh_key";
            /** @description The host's keys, in the form of OpenSSH's `known_hosts`. */
            known_hosts: string;
        };
        /** @description Repositories, ordered by name. */
        RepositoryList: {
            /** @description All of them. */
            repositories: components["schemas"]["RepositoryView"][];
        };
        /** @description The latest executions of a repository. */
        RepositoryOverview: {
            /** @description Its default branch, if an execution knew it. */
            default_branch?: string | null;
            /** @description The last execution of each pipeline on the default branch, newest first; at most 50. */
            of_default_branch: components["schemas"]["RecentExecution"][];
            /** @description The latest executions that have ended, newest first; at most 20. */
            recent: components["schemas"]["RecentExecution"][];
            /** @description The repository. */
            repo: string;
            /**
             * @description The state of the default branch: `FAILED` if the last execution of any of its pipelines failed, then `CANCELED`, then
             *     `SUCCESS`; absent if none is known.
             */
            status?: components["schemas"]["ExecutionStatus"] | null;
        };
        /** @description Selects a repository. */
        RepositoryQuery: {
            /** @description Its address, in any form. */
            repo: string;
        };
        /** @description The reply to a registration. */
        RepositoryReply: {
            /** @description The repository. */
            repository: components["schemas"]["RepositoryView"];
            /** @description The path for the provider's webhooks. */
            webhook_path: string;
            /** @description The secret of its webhooks, if it was just generated; it is not shown again. */
            webhook_secret?: string | null;
        };
        /** @description Registers a repository or changes its registration. Absent fields are unchanged. */
        RepositoryRequest: {
            /** @description Whether jobs with `checkout: { push: true }` get that credential; absent: unchanged. */
            allow_push?: boolean | null;
            /** @description The repositories of this server whose jobs may start its pipelines; empty: none; absent: unchanged. */
            allow_trigger_from?: string[] | null;
            /**
             * @description The provider's API, if it does not follow from the repository's address: `https://git.example.org/api/v1`;
             *     empty: it does.
             */
            api_url?: string | null;
            /** @description The GitHub App that writes check runs instead of commit statuses; absent: unchanged. */
            app?: components["schemas"]["GithubAppChange"] | null;
            /** @description Which pull requests need an approval; never set: those from forks. */
            approval?: components["schemas"]["ApprovalPolicy"] | null;
            /**
             * @description The people whose comments on pull requests start pipelines; empty: those whom the provider reports as members; absent:
             *     unchanged.
             */
            comment_authors?: string[] | null;
            /** @description The credential with which workers fetch it; absent: unchanged. */
            credential?: components["schemas"]["CredentialChange"] | null;
            /** @description Its default branch; empty or never set: as reported by webhooks. */
            default_branch?: string | null;
            /** @description Whether each pull request has a note with the newest results; absent: unchanged. */
            notes?: boolean | null;
            /** @description The receivers of notifications, which replace those of the same kind; empty: none of any kind; absent: unchanged. */
            notify?: components["schemas"]["Notify"][] | null;
            /** @description The git provider. */
            provider: components["schemas"]["Provider"];
            /** @description Whether anyone may read its executions and their logs without a token; absent: unchanged. */
            public?: boolean | null;
            /** @description The provider's token for commit statuses; empty: write none. */
            status_token?: string | null;
            /** @description The address that workers clone. */
            url: string;
            /** @description The secret that signs its webhooks; for a new repository without one, a secret is generated. */
            webhook_secret?: string | null;
        };
        /** @description What the executions and caches of a repository use of the disk. Files that several repositories share count for each. */
        RepositoryUsage: {
            /**
             * Format: uint64
             * @description Bytes of their artifacts.
             */
            artifact_bytes: number;
            /**
             * Format: uint64
             * @description Bytes of its caches.
             */
            cache_bytes: number;
            /**
             * Format: uint64
             * @description Number of its executions.
             */
            executions: number;
            /**
             * Format: uint64
             * @description Bytes of their logs and summaries.
             */
            log_bytes: number;
            /** @description Name of the repository. */
            repo: string;
        };
        /** @description A repository without its secrets. */
        RepositoryView: {
            /** @description The repositories whose jobs may start its pipelines. */
            allow_trigger_from?: string[];
            /**
             * @description The provider's API, if it was set.
             * @default null
             */
            api_url?: string | null;
            /** @description The GitHub App that writes check runs, if it has one. */
            app?: components["schemas"]["GithubAppView"] | null;
            /** @description Which pull requests need an approval. */
            approval: components["schemas"]["ApprovalPolicy"];
            /** @description The people whose comments on pull requests start pipelines; empty: those whom the provider reports as members. */
            comment_authors?: string[];
            /** @description The credential with which workers fetch it, if it has one. */
            credential?: components["schemas"]["CredentialView"] | null;
            /**
             * @description Its default branch, if known.
             * @default null
             */
            default_branch?: string | null;
            /** @description Its name: `host/path`. */
            name: string;
            /** @description Whether each pull request has a note with the newest results. */
            notes?: boolean;
            /**
             * @description The formats of its receivers of notifications.
             * @default []
             */
            notify?: components["schemas"]["NotifyKind"][];
            /** @description The git provider. */
            provider: components["schemas"]["Provider"];
            /** @description Whether anyone may read its executions and their logs without a token. */
            public?: boolean;
            /** @description Whether commit statuses are written. */
            statuses: boolean;
            /**
             * @description The last error with its time: of a commit status or notification that could not be sent, or of a schedule that
             *     could not start.
             */
            trouble?: string | null;
            /** @description When it was last changed. */
            updated_at: components["schemas"]["Timestamp"];
            /** @description The address that workers clone. */
            url: string;
        };
        /** @description A rule of a job's environment, with what it still requires. */
        RequiredApprovals: {
            /**
             * Format: uint32
             * @description How many people must approve the job.
             */
            approvals: number;
            /** @description Who may approve. */
            by: string[];
            /** @description The environment, as the rule has it. */
            environment: string;
            /** @description Whether the approval of who started the execution does not count. */
            exclude_starter: boolean;
            /**
             * Format: uint32
             * @description How many approvals are missing.
             */
            missing: number;
        };
        /** @description Limits of a job's container; what is absent is not limited by the pipeline. */
        Resources: {
            /**
             * Format: double
             * @description Processors, where 1.5 is one and a half.
             * @default null
             */
            cpus?: number | null;
            /**
             * Format: uint64
             * @description Memory in bytes.
             * @default null
             */
            memory_bytes?: number | null;
        };
        /** @description Replaces the settings of a repository, or those of the server. */
        RetentionRequest: {
            /** @description Address of the repository, in any form; absent: the server. */
            repo?: string | null;
            /** @description The new settings; empty ones remove the old ones. */
            settings: components["schemas"]["RetentionSettings"];
        };
        /** @description A rule: what is absent is as in the rule of the repository, then of the server. 0 days, or a `last` of 0, mean no limit. */
        RetentionRule: {
            /**
             * Format: uint32
             * @description Days for which artifacts are kept after the end of their execution, whatever their `expire_in`; 0: as long as it.
             */
            artifact_days?: number | null;
            /**
             * Format: uint32
             * @description Days for which the newest execution of each branch is kept, 365 without a rule; 0: as any other.
             */
            branch_days?: number | null;
            /**
             * Format: uint32
             * @description Days for which an execution is kept after its end; 0: for ever.
             */
            days?: number | null;
            /** @description Whether executions of tags are kept for ever; true without a rule. */
            keep_tags?: boolean | null;
            /**
             * Format: uint32
             * @description How many of the newest executions of the pipeline are kept, however old; 0: no number.
             */
            last?: number | null;
            /**
             * Format: uint32
             * @description Days for which logs are kept after the end of their execution; 0: as long as it.
             */
            log_days?: number | null;
        };
        /** @description The settings of a repository, or those of the server for all repositories. */
        RetentionSettings: {
            /**
             * Format: uint32
             * @description Days for which a cache is kept after its last use; 14 without a rule.
             */
            cache_days?: number | null;
            /** @description Rules of pipelines, by their names. */
            pipelines?: {
                [key: string]: components["schemas"]["RetentionRule"];
            };
            /** @description The rule of all pipelines. */
            rule?: components["schemas"]["RetentionRule"];
            /**
             * Format: uint32
             * @description Days for which uploaded sources are kept after their last use; 35 without a rule. Only of the server.
             */
            upload_days?: number | null;
        };
        /** @description The settings of a repository, or those of the server. */
        RetentionView: {
            /** @description Name of the repository; absent: the server. */
            repo?: string | null;
            /** @description The settings of the server, for what a repository does not set. */
            server: components["schemas"]["RetentionSettings"];
            /** @description Its own settings. */
            settings: components["schemas"]["RetentionSettings"];
        };
        /** @description Retries an ended execution: creates a new one that carries over the successful jobs. */
        RetryRequest: {
            /**
             * @description Runs every job again.
             * @default false
             */
            all?: boolean;
            /** @description Runs exactly `jobs`, also if they are manual. What they need is carried over if it succeeded, and left out otherwise. */
            alone?: boolean;
            /** @description Names of manual jobs to approve. */
            approve?: string[];
            /** @description Runs only these jobs and those that depend on them, with what all of them need; empty: all. */
            jobs?: string[];
            /** @description The user, as in [`ExecuteRequest::requested_by`]. */
            requested_by?: string | null;
        };
        /** @description The reply to a request that revokes a badge. */
        RevokeBadgeReply: {
            /** @description Whether there was one. */
            revoked: boolean;
        };
        /** @description The reply to the revocation of a token. */
        RevokeReply: {
            /** @description The revoked token. */
            revoked: components["schemas"]["TokenView"];
        };
        /** @description What a person may do. */
        Role: "viewer" | "developer" | "maintainer" | "admin";
        /** @description A role of the caller. */
        RoleGrant: {
            /** @description Its repositories; `*` stands for any characters. */
            repo: string;
            /** @description The role. */
            role: components["schemas"]["Role"];
        };
        /** @description The rules of a deployment. */
        RoleList: {
            /** @description In the order of persons, groups and repositories. */
            rules: components["schemas"]["RoleRule"][];
        };
        /** @description A rule that gives a role; sent to add it, or to change the role of an existing one. */
        RoleRequest: {
            /**
             * @description A group, with the provider: `oidc:developers`, `github:acme/backend`. Without user and group the rule is for everyone who signs
             *     in.
             */
            group?: string | null;
            /** @description The repository; `*` stands for any characters. Absent: all. */
            repo?: string | null;
            /** @description The role. */
            role: components["schemas"]["Role"];
            /** @description A person, with the provider: `oidc:alice@example.org`, `github:alice`. */
            user?: string | null;
        };
        /** @description A rule that gives a role. */
        RoleRule: {
            /**
             * @description A group, with the provider: `oidc:developers`, `github:acme/backend`. Without user and group the rule is for everyone who signs
             *     in.
             */
            group?: string | null;
            /** @description The repository; `*` stands for any characters. Absent: all. */
            repo?: string | null;
            /** @description The role. */
            role: components["schemas"]["Role"];
            /** @description When it was set. */
            set_at: components["schemas"]["Timestamp"];
            /** @description Name of who set it. */
            set_by: string;
            /** @description A person, with the provider: `oidc:alice@example.org`, `github:alice`. */
            user?: string | null;
        };
        /** @description For whom a rule is, and in which repositories it applies. A deployment has one rule for each. */
        RoleTarget: {
            /**
             * @description A group, with the provider: `oidc:developers`, `github:acme/backend`. Without user and group the rule is for everyone who signs
             *     in.
             */
            group?: string | null;
            /** @description The repository; `*` stands for any characters. Absent: all. */
            repo?: string | null;
            /** @description A person, with the provider: `oidc:alice@example.org`, `github:alice`. */
            user?: string | null;
        };
        /** @description Starts a pipeline of a registered repository at the head of a branch, by its file, whatever its triggers are. */
        RunPipelineRequest: {
            /** @description The branch; absent: the default branch. */
            branch?: string | null;
            /** @description The values of the pipeline's inputs; those without one have their default. */
            inputs?: {
                [key: string]: components["schemas"]["InputValue"];
            };
            /** @description The path of the pipeline file. */
            path: string;
            /** @description The repository, in any form of its address. */
            repo: string;
        };
        /** @description Starts a schedule now; its next time stays. */
        RunScheduleRequest: {
            /**
             * Format: uint32
             * @description Position among the schedules of the file, from 0.
             * @default 0
             */
            index?: number;
            /** @description The path of the pipeline file. */
            path: string;
            /** @description The repository, in any form of its address. */
            repo: string;
        };
        /** @description Schedules, by repository, file and position. */
        ScheduleList: {
            /** @description At most 1,000. */
            schedules: components["schemas"]["ScheduleView"][];
            /** @description Whether there are more; query them by repository. */
            truncated?: boolean;
        };
        /** @description A schedule of a pipeline. */
        ScheduleView: {
            /** @description The cron expression. */
            cron: string;
            /** @description Its description. */
            description?: string | null;
            /**
             * Format: uint32
             * @description Position among the schedules of the file, from 0.
             */
            index: number;
            /** @description The discovery that it started last. */
            last_execution?: components["schemas"]["ExecutionId"] | null;
            /** @description The time at which it could not start, if it could not; it is tried again. */
            missed_at?: components["schemas"]["Timestamp"] | null;
            /** @description The next times; at most three. */
            next_times: components["schemas"]["Timestamp"][];
            /** @description The path of the pipeline file. */
            path: string;
            /** @description The pipeline's name. */
            pipeline_name: string;
            /** @description The repository's name. */
            repo: string;
            /** @description The time zone that it is read in. */
            time_zone: string;
        };
        /** @description What a token may do. */
        Scope: "read" | "run" | "worker" | "admin";
        /** @description The secrets and variables of a repository, ordered by environment and name. */
        SecretList: {
            /** @description All of them. */
            secrets: components["schemas"]["SecretView"][];
        };
        /** @description A secret as passed to a job. */
        SecretValue: {
            /**
             * @description Whether the variable holds the path of a file that contains the value.
             * @default false
             */
            file?: boolean;
            /** @description Whether it is shown in logs, because it is a variable of the repository that is not masked. */
            unmasked?: boolean;
            /** @description The value, or the file's content if `file` is set. */
            value: string;
            /** @description The environment variable that holds it. */
            variable: string;
        };
        /** @description A secret without its value, or a variable. */
        SecretView: {
            /** @description The environment that it is limited to, if any. */
            environment?: string | null;
            /** @description Its name. */
            name: string;
            /** @description The repository. */
            repo: string;
            /** @description When it was last set. */
            updated_at: components["schemas"]["Timestamp"];
            /**
             * @description Name of the token that set it.
             * @default
             */
            updated_by?: string;
            /** @description The value of a variable that is not masked, in lists. */
            value?: string | null;
            /** @description Its options if it is a variable; absent: a secret. */
            variable?: components["schemas"]["VariableOptions"] | null;
        };
        /** @description A container that runs alongside a job, on its network, for as long as the job runs. */
        Service: {
            /**
             * @description Host names under which the job and its other services reach it: those that the file gives it, and once planned those of
             *     its image.
             * @default []
             */
            alias?: string[];
            /**
             * @description Overrides the command of the image.
             * @default null
             */
            command?: string[] | null;
            /** @description What it asks of its container. */
            container?: components["schemas"]["ContainerOptions"];
            /**
             * @description Overrides the entry point of the image.
             * @default null
             */
            entrypoint?: string[] | null;
            /**
             * @description Readiness check. `None`: the ports that the image exposes accept connections, or its health check passes; without both,
             *     that it runs.
             * @default null
             */
            health?: components["schemas"]["Health"] | null;
            /** @description The image. May hold `${NAME}` references like the job's. */
            image: string;
            /** @description The variant of the image: `os/architecture` or `os/architecture/variant`. May hold `${NAME}` references. */
            platform?: string | null;
            /** @description When the image is pulled. `None`: as the job's. */
            pull_policy?: components["schemas"]["PullPolicy"] | null;
            /**
             * Format: uint64
             * @description How long the script waits for it to be ready, in seconds.
             */
            ready_within_s: number;
            /**
             * @description Whether the job fails if it ends, or is not ready in time, before the script starts. Otherwise that is a warning.
             * @default false
             */
            required?: boolean;
            /** @description The user, and optionally the group, of its processes. `None`: the image's. May hold `${NAME}` references. */
            user?: string | null;
            /**
             * @description Its environment variables. Those of the job are passed to it, too, if the job gets all secrets.
             * @default {}
             */
            variables?: {
                [key: string]: string;
            };
        };
        /** @description Who the caller is, and how one can sign in. */
        SessionInfo: {
            /** @description The caller; absent if there is no valid token or session. */
            caller?: components["schemas"]["CallerView"] | null;
            /** @description Ways to sign in; none: only tokens. */
            providers: components["schemas"]["ProviderView"][];
        };
        /** @description Sessions. */
        SessionList: {
            /** @description The newest first. */
            sessions: components["schemas"]["SessionView"][];
            /** @description Whether there are more, which are not listed. */
            truncated?: boolean;
        };
        /** @description A session of a person. */
        SessionView: {
            /** @description The browser's description of itself. */
            browser?: string | null;
            /** @description When the person signed in. */
            created_at: components["schemas"]["Timestamp"];
            /** @description Whether it is the session of this request. */
            current: boolean;
            /** @description When it ends if it is not used before. */
            expires_at: components["schemas"]["Timestamp"];
            /** @description The address from which the person signed in, if known. */
            from?: string | null;
            /**
             * Format: uuid
             * @description Its id.
             */
            id: string;
            /** @description The person's name, in lists of the sessions of others. */
            name?: string | null;
            /** @description The person's id, in lists of the sessions of others. */
            person?: string | null;
            /** @description When it was last used, to the day. */
            used_at: components["schemas"]["Timestamp"];
        };
        /** @description Stores a login. No reply of the API contains its password except an assignment. */
        SetRegistryRequest: {
            /** @description The password or token, 1 byte to 16 KiB. */
            password: string;
            /** @description The registry, with its port, or a path of it ([`crate::pipeline::RegistryScope`]). */
            registry: string;
            /** @description The repository, in any form of its address. */
            repo: string;
            /** @description The user's name. */
            username: string;
        };
        /** @description Stores a secret or a variable. No reply of the API contains the value of a secret except an assignment. */
        SetSecretRequest: {
            /**
             * @description Only for jobs of this environment, where it takes precedence over the repository's own.
             * @default null
             */
            environment?: string | null;
            /** @description Its name: letters, digits and `_`. */
            name: string;
            /** @description The repository, in any form of its address. */
            repo: string;
            /** @description The value, 1 byte to 64 KiB; that of a variable which is not masked has at most 8 KiB. */
            value: string;
            /** @description Its options if it is a variable; absent: a secret. */
            variable?: components["schemas"]["VariableOptions"] | null;
        };
        /** @description A shell that a user of a server asks for. */
        ShellRequest: {
            /** @description Whether the job is held for it when it fails; otherwise the shell opens while the script runs. */
            on_failure: boolean;
            /**
             * Format: uuid
             * @description Identifies the session. Only the worker of the job learns it, and connects under it.
             */
            session: string;
        };
        /** @description The origin of a job's sources. */
        Source: {
            /** @constant */
            kind: "none";
        } | {
            /**
             * @description Branch or tag on which the commit was found, for shallow fetches and for the job's variables.
             * @default null
             */
            branch?: string | null;
            /** @description Full commit hash. */
            commit: string;
            /** @description Whether the server has a credential for it, which comes with the assignment. Decided by the server. */
            has_credential?: boolean;
            /** @constant */
            kind: "git";
            /**
             * @description Whether its host may have a private address. Decided by the server, not by the request: the repository is
             *     registered with this host and port, or the operator allows them.
             */
            private_host?: boolean;
            /** @description Its address ([`crate::repository::RepositoryAddress`]); never a path. */
            url: string;
        } | {
            /**
             * @description Branch, for the job's variables.
             * @default null
             */
            branch?: string | null;
            /** @description Full hash of the commit that was checked out, or a hash derived from the tree. */
            commit: string;
            /** @constant */
            kind: "snapshot";
            /** @description The name of the repository that it is a snapshot of. */
            repository: string;
            /** @description Its id, 64 hex digits, which only processes of that data directory can create. */
            snapshot: string;
            /**
             * @description Hash of the tree on disk, including uncommitted changes, if it differs from the commit's.
             * @default null
             */
            tree?: string | null;
        } | {
            /** @description The commit that the upload is based on. */
            base?: string | null;
            /** @description Branch, for the job's variables. */
            branch?: string | null;
            /** @description Full hash of the commit that was checked out. */
            commit: string;
            /** @description Whether the server has a credential for `url`; as in `Git`. */
            has_credential?: boolean;
            /** @constant */
            kind: "uploaded";
            /** @description Whether the host of `url` may have a private address; as in `Git`. */
            private_host?: boolean;
            /** @description Hash of the tree on disk, if it differs from the commit's. */
            tree?: string | null;
            /**
             * @description Identifies the upload ([`crate::execution::upload::UploadId`]): its repository, and the SHA-256 of its
             *     bytes.
             */
            upload: string;
            /** @description The address of a git repository that workers can reach and that has `base`; absent: the upload is complete. */
            url?: string | null;
        };
        /** @description A credential as passed to a worker with a job of its repository. */
        SourceCredential: {
            /** @description The credential. */
            credential: components["schemas"]["RepositoryCredential"];
            /** @description Whether the job itself gets it, to push. */
            may_push?: boolean;
            /** @description The registered address of the repository, whose host the credential is for. */
            url: string;
        };
        /** @description The upload address of sources. */
        SourceUploadReply: {
            /** @description Headers that the PUT must contain. */
            headers?: {
                [key: string]: string;
            };
            /**
             * @description Address for a PUT: absolute, or a path on the API server (which then requires the API token). Absent: the upload
             *     exists.
             */
            url?: string | null;
        };
        /** @description Announces sources that workers cannot fetch. */
        SourceUploadRequest: {
            /**
             * Format: uint64
             * @description Number of bytes; absent to check only whether the upload exists.
             * @default null
             */
            size?: number | null;
            /** @description Identifies the upload ([`crate::execution::upload::UploadId`]): its repository, and the SHA-256 of its bytes. */
            upload: string;
        };
        /** @description The result of one command of a script. */
        StepView: {
            /**
             * Format: uint64
             * @description Duration in milliseconds.
             */
            duration_ms?: number | null;
            /**
             * Format: int32
             * @description Exit code; absent while it runs or if it was stopped.
             */
            exit_code?: number | null;
            /**
             * Format: uint32
             * @description Position in the script, from 0.
             */
            index: number;
            /**
             * Format: uint64
             * @description Offset of its first line in the attempt's log, which shows the command. Absent if the log was cut before it.
             */
            log_offset?: number | null;
            /** @description When it started, by the clock of the worker. */
            started_at?: components["schemas"]["Timestamp"] | null;
        };
        /** @description The reply to a request to stop an environment. */
        StopEnvironmentReply: {
            /** @description Whether this request changed anything (false: the environment was stopped, or is being stopped). */
            changed: boolean;
            /** @description The execution of that job. */
            execution?: components["schemas"]["ExecuteReply"] | null;
            /** @description The job that stops it. */
            job_name?: string | null;
            /** @description Whether the environment is stopped now; false: `job_name` stops it. */
            stopped: boolean;
        };
        /** @description Stops an environment. */
        StopEnvironmentRequest: {
            /** @description Name of the environment. */
            name: string;
            /** @description The repository, in any form of its address. */
            repo: string;
            /** @description The user, as in [`super::ExecuteRequest::requested_by`]. */
            requested_by?: string | null;
        };
        /** @description How deep submodules are checked out. */
        SubmoduleLevel: "recursive" | "direct" | "off";
        /** @description Which submodules are checked out. */
        Submodules: {
            /**
             * Format: uint32
             * @description How many commits of history a submodule has; 0: all. `None`: as many as the repository.
             */
            depth?: number | null;
            /** @description How deep submodules of submodules are checked out. */
            level?: components["schemas"]["SubmoduleLevel"];
            /** @description Paths of the submodules to check out, or to leave out with `:(exclude)` in front. Empty: all. */
            paths?: string[];
        };
        /** @description The summaries and annotations of an execution: those of the last attempt of each job. */
        SummaryList: {
            /** @description The annotations: failures before warnings before notices, then by file and line. Equal ones are listed once. */
            annotations: components["schemas"]["JobAnnotation"][];
            /** @description Number of annotations. */
            counts: components["schemas"]["AnnotationCounts"];
            /** @description The jobs with a summary, in the plan's order. */
            summaries: components["schemas"]["SummaryView"][];
        };
        /** @description The reply to a summary. */
        SummaryReply: {
            /**
             * Format: uint32
             * @description The number of the attempt.
             */
            attempt: number;
        };
        /** @description A worker's report of the summary and the annotations of an attempt. */
        SummaryRequest: {
            /**
             * @description The annotations.
             * @default []
             */
            annotations?: components["schemas"]["Annotation"][];
            /** @description The job. */
            job_id: components["schemas"]["JobId"];
            /** @description The attempt's lease. */
            lease: components["schemas"]["LeaseToken"];
            /**
             * Format: uint64
             * @description Number of annotations that are omitted.
             * @default 0
             */
            left_out?: number;
            /**
             * @description The summary, in Markdown.
             * @default
             */
            markdown?: string;
        };
        /** @description A job with a summary. */
        SummaryView: {
            /** @description The job. */
            job_id: components["schemas"]["JobId"];
            /** @description Its name, including matrix values. */
            job_name: string;
            /** @description Whether it is shown with the execution: all that are shown have at most 1 MiB together. */
            shown: boolean;
            /**
             * Format: uint64
             * @description Size of the summary in bytes.
             */
            size: number;
        };
        /** @description A failed or flaky test case. */
        TestCase: {
            /** @description Whether it had an error rather than a failed assertion. */
            error?: boolean;
            /** @description The file that contains it. */
            file?: string | null;
            /** @description The failure message. */
            message?: string;
            /** @description Its name within the suite. */
            name: string;
            /** @description Its class, or else its suite. */
            suite: string;
        };
        /** @description Number of tests by outcome. */
        TestCounts: {
            /**
             * Format: uint64
             * @description The sum of their durations, in milliseconds.
             */
            duration_ms: number;
            /**
             * Format: uint64
             * @description Those with an error outside of an assertion.
             */
            errors: number;
            /**
             * Format: uint64
             * @description Those that failed.
             */
            failures: number;
            /**
             * Format: uint64
             * @description Those that failed first and then passed.
             */
            flaky: number;
            /**
             * Format: uint64
             * @description Those that were skipped.
             */
            skipped: number;
            /**
             * Format: uint64
             * @description All of them.
             */
            tests: number;
        };
        /** @description A test case with its duration. */
        TestDuration: {
            /**
             * Format: uint64
             * @description Its duration in milliseconds.
             */
            duration_ms: number;
            /** @description Its name within the suite. */
            name: string;
            /** @description Its class, or else its suite. */
            suite: string;
        };
        /** @description Test results of one attempt. */
        TestReport: {
            /** @description Number of tests by outcome. */
            counts: components["schemas"]["TestCounts"];
            /**
             * Format: double
             * @description Line coverage in percent, as printed by the job's script.
             */
            coverage?: number | null;
            /** @description The failed test cases. */
            failed?: components["schemas"]["TestCase"][];
            /**
             * Format: uint64
             * @description Number of failed test cases omitted for lack of space.
             * @default 0
             */
            failed_left_out?: number;
            /** @description The flaky test cases. */
            flaky?: components["schemas"]["TestCase"][];
            /**
             * Format: uint64
             * @description Number of flaky test cases omitted for lack of space.
             * @default 0
             */
            flaky_left_out?: number;
            /** @description Concatenated hex digests of the passed test cases, which show what is flaky in a later attempt. */
            passed?: string;
            /** @description The slowest test cases, the slowest first; at most 10. */
            slowest?: components["schemas"]["TestDuration"][];
        };
        /** @description The reply to a test report. */
        TestsReply: {
            /**
             * Format: uint32
             * @description The number of the attempt.
             */
            attempt: number;
        };
        /** @description A worker's report of the test results of an attempt. */
        TestsRequest: {
            /** @description The job. */
            job_id: components["schemas"]["JobId"];
            /** @description The attempt's lease. */
            lease: components["schemas"]["LeaseToken"];
            /** @description The results. */
            report: components["schemas"]["TestReport"];
        };
        /** Format: date-time */
        Timestamp: string;
        /** @description All tokens that are not revoked; those of the deployment itself are not included. */
        TokenList: {
            /** @description In the order of their creation. */
            tokens: components["schemas"]["TokenView"][];
        };
        /** @description The reply to the creation of a token. */
        TokenReply: {
            /** @description The token, which is not shown again. */
            token: string;
            /** @description Its description. */
            view: components["schemas"]["TokenView"];
        };
        /** @description Creates a token. */
        TokenRequest: {
            /**
             * Format: uint64
             * @description Number of seconds for which it is valid, at most 100 years; absent: until it is revoked.
             */
            expire_in_s?: number | null;
            /** @description Its name, for display: no control characters. */
            name: string;
            /** @description The only repository that it applies to, not with the scope `worker`; absent: all. */
            repo?: string | null;
            /** @description Its scopes; at least one. */
            scopes: components["schemas"]["Scope"][];
        };
        /** @description A token as shown to users. */
        TokenView: {
            /** @description When it was created. */
            created_at: components["schemas"]["Timestamp"];
            /** @description Name of the token that created it. */
            created_by: string;
            /**
             * @description When it expires.
             * @default null
             */
            expires_at?: components["schemas"]["Timestamp"] | null;
            /**
             * Format: uuid
             * @description Its id.
             */
            id: string;
            /**
             * @description When it was last used, to the hour.
             * @default null
             */
            last_used_at?: components["schemas"]["Timestamp"] | null;
            /** @description Its name. */
            name: string;
            /** @description Id of the person whose roles it has, instead of scopes. */
            person?: string | null;
            /**
             * @description The only repository that it applies to.
             * @default null
             */
            repo?: string | null;
            /** @description Its scopes; none if it has the roles of a person. */
            scopes: components["schemas"]["Scope"][];
        };
        /** @description What started an execution. */
        Trigger: "manual" | "retry" | "push" | "pull_request" | "schedule" | "parent_pipeline" | "merge_group" | "release" | "comment" | "pipeline";
        /** @description A limit of the processes in a container; -1: none. */
        Ulimit: {
            /**
             * Format: int64
             * @description Up to which a process may raise it.
             */
            hard: number;
            /**
             * Format: int64
             * @description The limit that applies.
             */
            soft: number;
        };
        /** @description The reply to the removal of a rule. */
        UnprotectEnvironmentReply: {
            /** @description Whether there was such a rule. */
            removed: boolean;
        };
        /** @description Removes the rule of an environment. */
        UnprotectEnvironmentRequest: {
            /** @description The environment, as the rule has it. */
            environment: string;
            /** @description The repository, in any form of its address. */
            repo: string;
        };
        /** @description A machine whose worker did not start, or did not report for too long. */
        UnstartedMachine: {
            /** @description Id of the machine. */
            machine: string;
            /** @description When it was removed. */
            removed_at: components["schemas"]["Timestamp"];
            /** @description When it was seen first. */
            seen_at: components["schemas"]["Timestamp"];
        };
        /** @description Calls and capacity, counted where they are used. */
        Usage: {
            /**
             * Format: uint64
             * @description Requests to the API.
             * @default 0
             */
            api_requests?: number;
            /**
             * Format: uint64
             * @description Duration of functions in milliseconds times their memory in MiB.
             * @default 0
             */
            function_mib_ms?: number;
            /**
             * Format: uint64
             * @description GET and other requests to S3.
             * @default 0
             */
            object_gets?: number;
            /**
             * Format: uint64
             * @description PUT, COPY, POST and LIST requests to S3, including uploads with presigned URLs.
             * @default 0
             */
            object_puts?: number;
            /**
             * Format: uint64
             * @description Requests to SQS: those of the API are counted; the worker's receipt and deletion of each message are added when
             *     the message is sent.
             * @default 0
             */
            queue_requests?: number;
            /**
             * Format: uint64
             * @description Consumed read units, in halves.
             * @default 0
             */
            table_read_halves?: number;
            /**
             * Format: uint64
             * @description Requests to DynamoDB.
             * @default 0
             */
            table_requests?: number;
            /**
             * Format: uint64
             * @description Consumed write units, in halves.
             * @default 0
             */
            table_write_halves?: number;
            /**
             * Format: uint64
             * @description Items written, each item of a transaction counted.
             * @default 0
             */
            table_writes?: number;
        };
        /** @description How a variable of a repository reaches jobs. Unlike a secret, it reaches those that do not name it. */
        VariableOptions: {
            /**
             * @description Whether the variable holds the path of a file with the value, not the value itself.
             * @default false
             */
            file?: boolean;
            /**
             * @description Whether pull requests of forks get it, too.
             * @default false
             */
            forks?: boolean;
            /**
             * @description Whether its value is hidden: masked in logs, in no record, and in no reply except an assignment.
             * @default false
             */
            masked?: boolean;
            /**
             * @description Whether only executions of protected branches get it.
             * @default false
             */
            protected?: boolean;
        };
        /** @description Where a variable of an execution is from. */
        VariableSource: "request" | "repository";
        /** @description The reply to a webhook. */
        WebhookReply: {
            /** @description The discovery executions that were started. */
            executions: components["schemas"]["ExecutionId"][];
            /** @description One line for each event, with what Tidemill does about it. */
            lines: string[];
        };
        /** @description The disk of a worker. */
        WorkerDisk: {
            /**
             * Format: uint64
             * @description How many of them are free.
             */
            free: number;
            /**
             * Format: uint64
             * @description Its size in bytes.
             */
            size: number;
        };
        /**
         * Format: uuid
         * @description One worker process, created at each start.
         */
        WorkerId: string;
        /** @description The worker that requests work. */
        WorkerInfo: {
            /** @description Its id. */
            id: components["schemas"]["WorkerId"];
            /** @description Its name, for display. */
            name: string;
        };
        /** @description A job that a worker runs. */
        WorkerJob: {
            /** @description Its execution. */
            execution_id: components["schemas"]["ExecutionId"];
            /** @description The job. */
            job_id: components["schemas"]["JobId"];
            /** @description Its name. */
            job_name: string;
        };
        /** @description All workers, by name. */
        WorkerList: {
            /** @description The machines that the deployment starts for workers; absent: it starts none, or has not started any yet. */
            fleet?: components["schemas"]["FleetView"] | null;
            /** @description The workers; at most 1,000. */
            workers: components["schemas"]["WorkerView"][];
        };
        /** @description What a worker reports of itself, at its start, once a minute, and at its end. */
        WorkerReport: {
            /** @description The disk of its caches and of its jobs' files. */
            disk?: components["schemas"]["WorkerDisk"] | null;
            /**
             * @description Whether it takes no more jobs.
             * @default false
             */
            draining?: boolean;
            /** @description Its labels. */
            labels?: {
                [key: string]: string;
            };
            /** @description The jobs that it runs. */
            running?: components["schemas"]["WorkerJob"][];
            /**
             * Format: uint32
             * @description Maximum number of concurrent jobs.
             */
            slots: number;
            /**
             * @description Whether this is its last report.
             * @default false
             */
            stopped?: boolean;
            /** @description Its version. */
            version: string;
            /** @description The worker. */
            worker: components["schemas"]["WorkerInfo"];
        };
        /** @description The reply to a [`WorkerReport`]. */
        WorkerReportReply: {
            /** @description Whether the worker must take no more jobs, and end when its jobs have. */
            drain: boolean;
        };
        /** @description A worker. */
        WorkerView: {
            /** @description The disk of its caches and of its jobs' files, if it reported it. */
            disk?: components["schemas"]["WorkerDisk"] | null;
            /** @description Whether it takes no more jobs, or was asked to. */
            draining: boolean;
            /** @description When it reported first. */
            first_seen_at: components["schemas"]["Timestamp"];
            /** @description Its id, a new one at each start. */
            id: components["schemas"]["WorkerId"];
            /** @description Its labels. */
            labels: {
                [key: string]: string;
            };
            /** @description When it reported last. */
            last_seen_at: components["schemas"]["Timestamp"];
            /** @description Its name. */
            name: string;
            /** @description Whether its last report is recent enough that it is there. */
            online: boolean;
            /** @description The jobs that it ran at its last report. */
            running: components["schemas"]["WorkerJob"][];
            /**
             * Format: uint32
             * @description Maximum number of concurrent jobs.
             */
            slots: number;
            /** @description Its version. */
            version: string;
        };
    };
    responses: {
        /** @description The request conflicts with the recorded state. For a worker, with type `tidemill:lease-lost`: it has lost its lease, and must stop */
        Conflict: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The server's store failed; `instance` names the entry in the server's log. Try again later */
        Failed: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The caller may not do this; `detail` says what is missing */
        Forbidden: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description A parameter or the body is invalid; `detail` says what and where */
        Invalid: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The item does not exist, or the caller may not see it */
        NotFound: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The body is too large; `detail` names the limit */
        TooLarge: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The caller sends too many requests */
        TooMany: {
            headers: {
                /** @description Seconds after which to try again */
                "Retry-After"?: string;
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The request has no valid token, session or signature */
        Unauthorized: {
            headers: {
                /** @description How to authenticate */
                "WWW-Authenticate"?: string;
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The server is busy, or has no space left. Try again later */
        Unavailable: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The pipeline file has mistakes, which `diagnostics` lists, or the request would store too much */
        Unprocessable: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
    };
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    "artifact-archive": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                executionId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/x-tar": unknown;
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "artifact-content": {
        parameters: {
            query: {
                /** @description The job */
                job: string;
                /** @description Its lease */
                lease: string;
                /** @description For a cache: its key, as in the upload URL */
                cache?: string;
            };
            header?: never;
            path: {
                artifactId: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/octet-stream": unknown;
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "artifact-download": {
        parameters: {
            query?: {
                /** @description For workers: the job that needs the artifact */
                job?: string;
                /** @description For workers: the lease of that job */
                lease?: string;
                /** @description False: replies with the address of bytes that are elsewhere */
                redirect?: boolean;
            };
            header?: never;
            path: {
                artifactId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ArtifactAddress"];
                    "application/octet-stream": unknown;
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "artifact-file": {
        parameters: {
            query: {
                /** @description Path of the file in the artifact */
                path: string;
                /** @description Whether a browser saves the file instead of showing it; default false */
                download?: boolean;
            };
            header?: never;
            path: {
                artifactId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "artifact-link": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                artifactId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ArtifactLink"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "artifact-list": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                executionId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ArtifactList"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "artifact-upload": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ArtifactUploadRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ArtifactUploadReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    audit: {
        parameters: {
            query?: {
                /** @description Repository, however its address is written */
                repo?: string;
                /** @description Name or id of the token */
                who?: string;
                /** @description Exact action */
                action?: string;
                /** @description Page size; default 50 */
                limit?: number;
                /** @description `next_cursor` of the previous page */
                cursor?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuditList"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    badge: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["BadgeRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BadgeReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "badge-revoke": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["BadgeRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RevokeBadgeReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "badge-image": {
        parameters: {
            query?: {
                /** @description Exact pipeline name; default all pipelines of the default branch */
                pipeline?: string;
            };
            header?: never;
            path: {
                badgeKey: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "image/svg+xml": string;
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "cache-content": {
        parameters: {
            query: {
                /** @description The lease of the job */
                lease: string;
                /** @description Object of the cache, from the lookup */
                object: string;
                /** @description Key of the cache, as in the URL of the lookup */
                key: string;
            };
            header?: never;
            path: {
                jobId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "cache-lookup": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CacheLookupRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CacheLookupReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    environment: {
        parameters: {
            query: {
                /** @description Repository */
                repo: string;
                /** @description Exact name; the reply then has its deployments */
                name?: string;
                /** @description Page size; default 50 */
                limit?: number;
                /** @description `next_cursor` of the previous page */
                cursor?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EnvironmentList"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "environment-protection": {
        parameters: {
            query: {
                /** @description Repository */
                repo: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ProtectionList"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "environment-protection-set": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ProtectEnvironmentRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EnvironmentProtection"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "environment-stop": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["StopEnvironmentRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StopEnvironmentReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "environment-unprotect": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["UnprotectEnvironmentRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UnprotectEnvironmentReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    export: {
        parameters: {
            query?: {
                /** @description Repository, however its address is written; absent: all */
                repo?: string;
                /** @description RFC 3339 time: only executions created then or later */
                since?: string;
                /** @description RFC 3339 time: only executions created before it */
                until?: string;
                /** @description Number of rows from which on a page ends; default 1,000 */
                limit?: number;
                /** @description `next_cursor` of the previous page */
                cursor?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ExportPage"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    health: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health2"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    insights: {
        parameters: {
            query: {
                /** @description Repository */
                repo: string;
                /** @description Exact pipeline name; default all */
                pipeline?: string;
                /** @description Number of days up to today (UTC); default 30 */
                days?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Insights"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "job-approve": {
        parameters: {
            query?: {
                /** @description The expected repository; if it is another one, the reply is 409 */
                repo?: string;
            };
            header?: never;
            path: {
                jobId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ApproveReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "job-cancel": {
        parameters: {
            query?: {
                /** @description The expected repository; if it is another one, the reply is 409 */
                repo?: string;
            };
            header?: never;
            path: {
                jobId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CancelReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "job-child": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ChildReport"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ChildReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "job-dead-letters": {
        parameters: {
            query?: {
                /** @description Only those of this repository, however its address is written */
                repo?: string;
                /** @description Page size; default 50 */
                limit?: number;
                /** @description `next_cursor` of the previous page */
                cursor?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DeadLetterList"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "job-dismiss": {
        parameters: {
            query?: {
                /** @description The expected repository; if it is another one, the reply is 409 */
                repo?: string;
            };
            header?: never;
            path: {
                jobId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DismissReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "job-execute": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["JobExecuteRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobExecuteReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "job-log-times": {
        parameters: {
            query?: {
                /** @description Attempt; default the current one */
                attempt?: number;
            };
            header?: never;
            path: {
                jobId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LogTimes"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "job-logs": {
        parameters: {
            query?: {
                /** @description First byte; default 0 */
                offset?: number;
                /** @description Attempt; default the current one */
                attempt?: number;
                /** @description Maximum size of the reply in bytes; default 1 MiB */
                limit?: number;
                /** @description Hold the reply until there are bytes, for at most this time */
                wait_ms?: number;
            };
            header?: never;
            path: {
                jobId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "job-shell-session": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                sessionId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "job-shell": {
        parameters: {
            query?: {
                /** @description Whether to hold the job when it fails; default as soon as it runs */
                on_failure?: boolean;
                /** @description The expected repository; if it is another one, the reply is 409 */
                repo?: string;
            };
            header?: never;
            path: {
                jobId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "job-status": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["JobReport"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobReportReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "job-summary-report": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SummaryRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SummaryReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "job-summary": {
        parameters: {
            query?: {
                /** @description Attempt; default the current one */
                attempt?: number;
            };
            header?: never;
            path: {
                jobId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/markdown": string;
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "job-tests": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TestsRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TestsReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "oidc-configuration": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenIdConfiguration"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "oidc-jwks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PublicKeySet"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    openapi: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": Record<string, never>;
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    overview: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Overview"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "pipeline-approve": {
        parameters: {
            query?: {
                /** @description The expected repository; if it is another one, the reply is 409 */
                repo?: string;
            };
            header?: never;
            path: {
                executionId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ApproveReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "pipeline-cancel": {
        parameters: {
            query?: {
                /** @description The expected repository; if it is another one, the reply is 409 */
                repo?: string;
            };
            header?: never;
            path: {
                executionId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CancelReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "pipeline-changes": {
        parameters: {
            query?: {
                /** @description End the stream after this time; default and maximum an hour */
                wait_ms?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "pipeline-discovered": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["DiscoveryReport"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DiscoveryReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "pipeline-events": {
        parameters: {
            query?: {
                /** @description End the stream after this time; default and maximum an hour */
                wait_ms?: number;
            };
            header?: never;
            path: {
                executionId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "pipeline-excluded": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                executionId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ExcludedJobList"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "pipeline-execute": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "pipeline": "name: hello\njobs:\n  greet: { image: \"busybox:1.37\", script: [echo hello] }\n",
                 *       "repo": "https://example.com/hello.git",
                 *       "source": {
                 *         "kind": "none"
                 *       }
                 *     }
                 */
                "application/json": components["schemas"]["ExecuteRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ExecuteReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "pipeline-executions": {
        parameters: {
            query?: {
                /** @description Repository, however its address is written */
                repo?: string;
                /** @description Exact pipeline name */
                pipeline?: string;
                /** @description Exact branch */
                branch?: string;
                /** @description Status */
                status?: components["schemas"]["ExecutionStatus"];
                /** @description Run number */
                run_number?: number;
                /** @description Page size; default 50 */
                limit?: number;
                /** @description `next_cursor` of the previous page */
                cursor?: string;
                /** @description What started it */
                event?: components["schemas"]["Trigger"];
                /** @description Part of the commit's author or of the user who requested it, in any case */
                author?: string;
                /** @description Beginning of the commit */
                commit?: string;
                /** @description Part of the commit's message, in any case */
                text?: string;
                /** @description What it does; default anything */
                kind?: components["schemas"]["ExecutionKind"];
                /** @description Whether to list failed discoveries beside those of `kind` */
                failed_discoveries?: boolean;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ExecutionList"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "pipeline-file": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                executionId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PipelineFileView"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "pipeline-inputs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["InputsRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["InputsReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "pipeline-pin": {
        parameters: {
            query?: {
                /** @description The expected repository; if it is another one, the reply is 409 */
                repo?: string;
            };
            header?: never;
            path: {
                executionId: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PinRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PinReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "pipeline-retry": {
        parameters: {
            query?: {
                /** @description The expected repository; if it is another one, the reply is 409 */
                repo?: string;
            };
            header?: never;
            path: {
                executionId: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["RetryRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ExecuteReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "pipeline-status": {
        parameters: {
            query?: {
                /** @description Hold the reply until something changes, for at most this time */
                wait_ms?: number;
                /** @description Maximum number of jobs; default 1,000 */
                limit?: number;
                /** @description `next_cursor` of the previous page of jobs */
                cursor?: string;
            };
            header?: never;
            path: {
                executionId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ExecutionView"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "pipeline-summary": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                executionId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SummaryList"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "pipeline-tests": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                executionId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ExecutionTests"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "pipeline-usage": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                executionId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Usage"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "pipeline-variables": {
        parameters: {
            query: {
                /** @description Repository */
                repo: string;
                /** @description Whether the execution is of a protected branch; default false */
                protected?: boolean;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ExternalVariables"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    registry: {
        parameters: {
            query: {
                /** @description Repository */
                repo: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RegistryList"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "registry-set": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetRegistryRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RegistryView"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "registry-remove": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RemoveRegistryRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RemoveRegistryReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    repository: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RepositoryList"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "repository-set": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RepositoryRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RepositoryReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "repository-remove": {
        parameters: {
            query: {
                /** @description Repository */
                repo: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RemoveRepositoryReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "repository-deliveries": {
        parameters: {
            query: {
                /** @description Repository */
                repo: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DeliveryList"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "repository-deliveries-redeliver": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RedeliverRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "repository-redeliver": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RepositoryQuery"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RedeliveryReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "repository-run": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RunPipelineRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ExecuteReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "repository-sync": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RepositoryQuery"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ExecuteReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    retention: {
        parameters: {
            query?: {
                /** @description Repository; default the server */
                repo?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RetentionView"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "retention-set": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RetentionRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RetentionView"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "retention-run": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["GcRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GcReport"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "retention-usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DiskUsage"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    role: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RoleList"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "role-set": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RoleRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RoleRule"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "role-remove": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RoleTarget"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RemoveRoleReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    schedule: {
        parameters: {
            query?: {
                /** @description Repository */
                repo?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ScheduleList"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "schedule-run": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RunScheduleRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ExecuteReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    secret: {
        parameters: {
            query: {
                /** @description Repository */
                repo: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SecretList"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "secret-set": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetSecretRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SecretView"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "secret-rekey": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RekeyReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "secret-remove": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RemoveSecretRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RemoveSecretReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    session: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionInfo"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "session-end": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            409: components["responses"]["Conflict"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EndSessionReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "session-callback": {
        parameters: {
            query?: {
                /** @description Code of the provider */
                code?: string;
                /** @description State of the sign-in */
                state?: string;
                /** @description Why the provider refused */
                error?: string;
                /** @description The provider's issuer */
                iss?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "session-code": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CodeRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CodeReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "session-end-end-one": {
        parameters: {
            query?: {
                /** @description The id of the session's person, if it is another one; needs an administrator */
                person?: string;
            };
            header?: never;
            path: {
                sessionId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EndSessionReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "session-list": {
        parameters: {
            query?: {
                /** @description The id of a person; others need an administrator */
                person?: string;
                /** @description The sessions of all people; needs an administrator */
                all?: boolean;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionList"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "session-login": {
        parameters: {
            query: {
                /** @description The provider */
                provider: components["schemas"]["ProviderKind"];
                /** @description Path of this server to go to afterwards; default `/` */
                return_to?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "session-token": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CodeExchange"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TokenReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "source-content": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                uploadId: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/octet-stream": unknown;
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "source-download": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                uploadId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "source-upload": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SourceUploadRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SourceUploadReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    token: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TokenList"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "token-create": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TokenRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TokenReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "token-revoke": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                tokenId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RevokeReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    webhook: {
        parameters: {
            query?: {
                /** @description The repository, if the body does not name it */
                repo?: string;
            };
            header?: never;
            path: {
                provider: "github" | "gitlab" | "gitea" | "bitbucket";
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": Record<string, never>;
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "worker-drain": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["DrainWorkersRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DrainWorkersReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "worker-program": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                sha256: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "worker-remove": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RemoveWorkersRequest"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RemoveWorkersReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "worker-report": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WorkerReport"];
            };
        };
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            422: components["responses"]["Unprocessable"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            503: components["responses"]["Unavailable"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WorkerReportReply"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    workers: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooMany"];
            500: components["responses"]["Failed"];
            /** @description Done */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WorkerList"];
                };
            };
            /** @description Error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
}
