import { useEffect, useState } from "preact/hooks";
import { type ApiError, post } from "../../api/client";
import { asApiError } from "../../components/useLive";
import { type InputField, inputFields } from "../../domain/inputs";

/** A pipeline file that was read. */
export interface ReadPipeline {
  /** The text that was read. */
  readonly text: string;
  readonly name: string;
  readonly fields: readonly InputField[];
}

const READ_DELAY_MS = 400;

/** Reads the inputs of a pipeline file whenever its text rests. */
export function usePipeline(text: string): { read: ReadPipeline | null; error: ApiError | null } {
  const [state, setState] = useState<{ read: ReadPipeline | null; error: ApiError | null }>({
    read: null,
    error: null,
  });
  useEffect(() => {
    if (text.trim() === "") {
      setState({ read: null, error: null });
      return;
    }
    const stop = new AbortController();
    const timer = setTimeout(() => {
      post("/api/pipeline/inputs", { body: { pipeline: text }, signal: stop.signal }).then(
        (reply) =>
          setState({
            read: { text, name: reply.pipeline_name, fields: inputFields(reply.schema) },
            error: null,
          }),
        (cause: unknown) => {
          if (!stop.signal.aborted) setState({ read: null, error: asApiError(cause) });
        },
      );
    }, READ_DELAY_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [text]);
  return state;
}
