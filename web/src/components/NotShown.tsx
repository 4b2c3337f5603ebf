import type { JSX } from "preact";
import type { ApiError } from "../api/client";
import { to } from "../router/router";
import { ErrorNote } from "./ErrorNote";

/** A page of something that cannot be read, with a way on. */
export function NotShown({
  what,
  error,
  retry,
}: {
  what: string;
  error: ApiError;
  retry: () => void;
}): JSX.Element {
  const isMissing = error.status === 404 || error.status === 400;
  return (
    <>
      <h1>{isMissing ? `There is no such ${what}` : `The ${what} cannot be shown`}</h1>
      <ErrorNote error={error} retry={retry} />
      <p>
        {isMissing &&
          "It may have been removed by the rules of retention, or be of a repository that you may not see. "}
        <a href={to.home()}>Home</a> · <a href={to.executions()}>Executions</a>
      </p>
    </>
  );
}
