// The rules that give roles to people.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { get, post } from "../../api/client";
import type { RoleRule, RoleTarget } from "../../api/types";
import { ActionButton } from "../../components/ActionButton";
import { Age } from "../../components/Time";
import { type Holder, HOLDERS, ROLES, roleRequest } from "../../domain/roles";
import { ListFrame } from "./ListFrame";
import { usePages } from "./usePages";

function HolderOf({ target }: { target: RoleTarget }): JSX.Element {
  if (target.user != null) return <strong class="mono">{target.user}</strong>;
  if (target.group != null)
    return (
      <>
        group <strong class="mono">{target.group}</strong>
      </>
    );
  return <>everyone who signs in</>;
}

/** The rule's part that names it. */
function targetOf({ user, group, repo }: RoleRule): RoleTarget {
  return {
    ...(user == null ? {} : { user }),
    ...(group == null ? {} : { group }),
    ...(repo == null ? {} : { repo }),
  };
}

function RoleForm({ added }: { added: () => void }): JSX.Element {
  const [role, setRole] = useState<string>(ROLES[0].name);
  const [holder, setHolder] = useState<Holder>("user");
  const [name, setName] = useState("");
  const [repo, setRepo] = useState("");
  const isReady = holder === "everyone" || name.trim() !== "";
  return (
    <form class="inline-form" aria-label="Give a role" onSubmit={(event) => event.preventDefault()}>
      <label class="field">
        <span>Role</span>
        <select value={role} onChange={(event) => setRole(event.currentTarget.value)}>
          {ROLES.map((one) => (
            <option key={one.name} value={one.name} title={one.about}>
              {one.name}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        <span>For</span>
        <select
          value={holder}
          onChange={(event) => {
            const chosen = HOLDERS.find(({ kind }) => kind === event.currentTarget.value);
            if (chosen !== undefined) setHolder(chosen.kind);
          }}
        >
          {HOLDERS.map(({ kind, text }) => (
            <option key={kind} value={kind}>
              {text}
            </option>
          ))}
        </select>
      </label>
      {holder !== "everyone" && (
        <label class="field">
          <span>Name</span>
          <input
            spellcheck={false}
            placeholder={holder === "user" ? "oidc:alice@example.org" : "oidc:developers"}
            value={name}
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </label>
      )}
      <label class="field">
        <span>
          Repository <span class="dim">(optional)</span>
        </span>
        <input
          spellcheck={false}
          placeholder="all, or git.example.org/team/*"
          value={repo}
          onInput={(event) => setRepo(event.currentTarget.value)}
        />
      </label>
      {isReady ? (
        <ActionButton
          kind="primary"
          run={async () => {
            await post("/api/role", { body: roleRequest(role, holder, name, repo) });
            setName("");
            added();
          }}
        >
          Give role
        </ActionButton>
      ) : (
        <button type="button" class="primary" disabled>
          Give role
        </button>
      )}
    </form>
  );
}

export function RoleList(): JSX.Element {
  const pages = usePages("roles", async () => ({ rows: (await get("/api/role")).rules, next: null }));
  return (
    <>
      {pages.error === null && <RoleForm added={pages.reload} />}
      <ListFrame
        label="Roles"
        pages={pages}
        rowKey={(rule) => `${rule.user ?? ""} ${rule.group ?? ""} ${rule.repo ?? ""}`}
        empty="There are no rules: people who sign in have no role, and see nothing."
        columns={[
          { name: "For", cell: (rule) => <HolderOf target={rule} /> },
          { name: "Role", cell: (rule) => <strong>{rule.role}</strong> },
          {
            name: "Repositories",
            cell: (rule) => (rule.repo == null ? "all" : <span class="mono">{rule.repo}</span>),
          },
          { name: "Set", cell: (rule) => <Age time={rule.set_at} /> },
          { name: "By", cell: (rule) => rule.set_by },
          {
            name: "Change",
            cell: (rule) => (
              <ActionButton
                kind="small"
                confirm="Really remove?"
                run={async () => {
                  await post("/api/role/remove", { body: targetOf(rule) });
                  pages.reload();
                }}
              >
                Remove
              </ActionButton>
            ),
          },
        ]}
      />
      <dl class="facts-list">
        {ROLES.map((one) => (
          <div key={one.name}>
            <dt>{one.name}</dt>
            <dd>{one.about}</dd>
          </div>
        ))}
      </dl>
    </>
  );
}
